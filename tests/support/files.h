// SPDX-License-Identifier: GPL-3.0-or-later
// A scratch folder that goes with the test, whole files in and out, and safetensors files written byte by byte: without the
// program's own writer, so that reader and writer are not tested against each other alone.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace nibble::test {

class ScratchFolder {
 public:
  ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder();
  [[nodiscard]] const std::filesystem::path& path() const { return m_path; }
  [[nodiscard]] std::filesystem::path file(const std::string& name) const { return m_path / name; }
  [[nodiscard]] std::vector<std::string> names() const;  // of everything in it, sorted

 private:
  std::filesystem::path m_path;
};

void writeWhole(const std::filesystem::path& path, const std::string& bytes);
std::string readWhole(const std::filesystem::path& path);

// Length and header, padded with spaces to a multiple of 8.
std::string safetensorsHead(std::string json);
// One safetensors file of F32 tensors of one dimension, given by name and values.
std::string safetensorsOf(const std::vector<std::pair<std::string, std::vector<float>>>& tensors);

// Of this process, from /proc/self/status: "RssAnon", "VmHWM".
std::uint64_t memoryKiB(const std::string& field);

// Under a sanitizer a program's time and memory say nothing about it.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool instrumented = true;
#else
inline constexpr bool instrumented = false;
#endif

}  // namespace nibble::test
