// SPDX-License-Identifier: GPL-3.0-or-later
// Runs a fuzz target without libFuzzer: every file of the folders given, each also cut short and with single bits flipped.
// The inputs are the same on each run; what was at work when a target stopped is printed.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t inputsInAll = 60'000;
char atWork[512];

void tellAtWork(int signal) {
  (void)!::write(STDERR_FILENO, atWork, std::strlen(atWork));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

// A block of exactly the input's size, so that a sanitizer sees a read past its end.
void runOne(const std::string& bytes, const std::string& name, const char* change, std::size_t place) {
  std::snprintf(atWork, sizeof atWork, "at work: %s, %s %zu\n", name.c_str(), change, place);
  const std::unique_ptr<std::uint8_t[]> block(new std::uint8_t[bytes.size()]);
  std::copy(bytes.begin(), bytes.end(), block.get());
  LLVMFuzzerTestOneInput(block.get(), bytes.size());
}

// All places where there are few enough; else the first half of them from the start, where headers are, the others at random.
std::vector<std::size_t> places(std::size_t size, std::size_t count, std::mt19937_64& random) {
  std::vector<std::size_t> list;
  for (std::size_t i = 0; i < std::min(size, size <= count ? count : count / 2); ++i) list.push_back(i);
  while (size > count && list.size() < count) list.push_back(random() % size);
  return list;
}

void runFile(const std::filesystem::path& path, std::size_t budget) {
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  const std::string name = path.filename().string();
  std::mt19937_64 random(bytes.size());
  runOne(bytes, name, "whole, bytes", bytes.size());
  for (const std::size_t length : places(bytes.size(), budget / 4, random))
    runOne(bytes.substr(0, length), name, "cut to", length);
  for (const std::size_t bit : places(bytes.size() * 8, budget - budget / 4, random)) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    runOne(changed, name, "flipped bit", bit);
  }
}

}  // namespace

int main(int count, char** arguments) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGILL}) std::signal(signal, tellAtWork);
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < count; ++i)
    for (const auto& entry : std::filesystem::recursive_directory_iterator(arguments[i]))
      if (entry.is_regular_file()) files.push_back(entry.path());
  if (files.empty()) {
    std::fprintf(stderr, "no corpus\n");
    return 1;
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    // Copies of a large file cost their size each time.
    const std::size_t size = std::filesystem::file_size(file);
    runFile(file, std::min(inputsInAll / files.size(), 200'000'000 / (files.size() * (size + 1)) + 8));
  }
  std::printf("%zu files\n", files.size());
  return 0;
}
