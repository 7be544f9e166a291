// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/atomic_file.h"

#include "core/base/text.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <random>
#include <system_error>

namespace nibble {
namespace fs = std::filesystem;
namespace {

std::string reason(int number) {
  return std::generic_category().message(number);
}

// A write past the process's file size limit raises SIGXFSZ, which by default ends the program with the temporary file left
// behind; ignored, the write fails with EFBIG as any other failure does.
void ignoreSizeSignal() {
  struct sigaction current {};
  if (::sigaction(SIGXFSZ, nullptr, &current) != 0 || (current.sa_flags & SA_SIGINFO) != 0 || current.sa_handler != SIG_DFL)
    return;
  current.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &current, nullptr);
}

// Hidden, and short enough for the longest destination name a folder can hold.
fs::path temporaryBeside(const fs::path& destination) {
  static constexpr char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::random_device random;
  std::string name = ".";
  name += destination.filename().string().substr(0, 200);
  name += '.';
  for (int i = 0; i < 10; ++i) name += letters[random() % 36];
  name += ".part";
  return destination.parent_path() / name;
}

Status syncFolder(const fs::path& file) {
  const fs::path folder = file.parent_path().empty() ? fs::path(".") : file.parent_path();
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return fail(folder.string() + ": cannot open to make the rename durable: " + reason(errno));
  const int failed = ::fsync(descriptor) != 0 ? errno : 0;
  ::close(descriptor);
  // Some network and user-space file systems cannot sync a folder; the file itself is synced.
  if (failed != 0 && failed != EINVAL && failed != ENOTSUP)
    return fail(folder.string() + ": cannot make the rename durable: " + reason(failed));
  return {};
}

}  // namespace

AtomicFile::AtomicFile(int descriptor, fs::path temporary, fs::path destination)
    : m_descriptor(descriptor), m_temporary(std::move(temporary)), m_destination(std::move(destination)) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : m_descriptor(std::exchange(other.m_descriptor, -1)),
      m_temporary(std::move(other.m_temporary)),
      m_destination(std::move(other.m_destination)),
      m_failed(other.m_failed) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this == &other) return *this;
  discard();
  m_descriptor = std::exchange(other.m_descriptor, -1);
  m_temporary = std::move(other.m_temporary);
  m_destination = std::move(other.m_destination);
  m_failed = other.m_failed;
  return *this;
}

AtomicFile::~AtomicFile() {
  discard();
}

void AtomicFile::discard() noexcept {
  if (m_descriptor < 0) return;
  ::close(std::exchange(m_descriptor, -1));
  ::unlink(m_temporary.c_str());
}

Result<AtomicFile> AtomicFile::create(const fs::path& destination) {
  ignoreSizeSignal();
  std::error_code error;
  fs::path target = destination;
  // A link is written through, not replaced.
  if (fs::is_symlink(target, error)) {
    target = fs::weakly_canonical(target, error);
    if (error) return fail(destination.string() + ": cannot follow the link: " + error.message());
  }
  if (fs::is_directory(target, error)) return fail(destination.string() + ": is a directory");
  if (target.filename().empty()) return fail(destination.string() + ": is not the name of a file");
  struct stat old {};
  const bool exists = ::stat(target.c_str(), &old) == 0;
  if (exists && ::access(target.c_str(), W_OK) != 0) return fail(destination.string() + ": is read-only");
  fs::path temporary = temporaryBeside(target);
  const int descriptor = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) return fail(destination.string() + ": cannot write there: " + reason(errno));
  if (exists) (void)!::fchmod(descriptor, old.st_mode & 07777);
  return AtomicFile(descriptor, std::move(temporary), std::move(target));
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  return writeAll(bytes, [this](const std::byte* data, std::size_t size) { return ::write(m_descriptor, data, size); });
}

Status AtomicFile::writeAt(std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::byte* const first = bytes.data();
  return writeAll(bytes, [this, offset, first](const std::byte* data, std::size_t size) {
    return ::pwrite(m_descriptor, data, size, static_cast<off_t>(offset + static_cast<std::uint64_t>(data - first)));
  });
}

template <class Write>
Status AtomicFile::writeAll(std::span<const std::byte> bytes, const Write& writeSome) {
  constexpr std::size_t piece = std::size_t{1} << 30;
  while (!bytes.empty() && !m_failed) {
    const ssize_t written = writeSome(bytes.data(), std::min(bytes.size(), piece));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const std::string why = reason(errno);
      m_failed = true;
      return fail(m_destination.string() + ": cannot write: " + why);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  if (m_failed) return fail(m_destination.string() + ": an earlier write failed");
  return {};
}

Status AtomicFile::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

Status AtomicFile::sync() {
  if (m_failed) return fail(m_destination.string() + ": an earlier write failed");
  if (::fsync(m_descriptor) == 0) return {};
  const std::string why = reason(errno);
  m_failed = true;
  return fail(m_destination.string() + ": cannot bring it to the disk: " + why);
}

Status AtomicFile::commit() {
  if (m_descriptor < 0) return fail(m_destination.string() + ": already committed");
  if (Status status = sync(); !status) {
    discard();
    return status;
  }
  int failed = ::close(std::exchange(m_descriptor, -1)) != 0 ? errno : 0;
  if (failed == 0 && ::rename(m_temporary.c_str(), m_destination.c_str()) != 0) failed = errno;
  if (failed != 0) {
    ::unlink(m_temporary.c_str());
    return fail(m_destination.string() + ": cannot be put in place: " + reason(failed));
  }
  return syncFolder(m_destination);
}

Status writeFileAtomically(const fs::path& destination, std::string_view text) {
  Result<AtomicFile> file = AtomicFile::create(destination);
  if (!file) return fail(file.error());
  NIBBLE_TRY(file->write(text));
  return file->commit();
}

}  // namespace nibble
