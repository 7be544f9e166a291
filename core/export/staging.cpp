// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/export/staging.h"

#include "core/io/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace nibble {
namespace {

namespace fs = std::filesystem;

fs::path withoutTrailingSlash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

fs::path parentOf(const fs::path& path) {
  const fs::path parent = withoutTrailingSlash(path).parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

// A rename survives a power cut only when the folder that holds the names is on disk.
void syncFolder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

bool sameFile(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return fs::equivalent(a, b, ignored);
}

}  // namespace

Status checkNotSource(const Checkpoint& source, const fs::path& destination) {
  const fs::path out = withoutTrailingSlash(destination);
  for (const fs::path& file : source.files()) {
    const fs::path folder = file.parent_path().empty() ? fs::path(".") : file.parent_path();
    if (sameFile(out, file) || sameFile(out, folder))
      return fail(out.string() + ": is the source, which is never written over");
  }
  return {};
}

Status checkDestination(const fs::path& destination, bool asFolder) {
  const fs::path out = withoutTrailingSlash(destination);
  if (out.empty()) return fail("no destination is given");
  std::error_code error;
  const fs::file_status status = fs::symlink_status(out, error);
  if (fs::exists(status)) {
    if (!fs::is_directory(status)) return fail(out.string() + ": exists already; choose another name or remove it first");
    if (!asFolder) return fail(out.string() + ": is a folder, expected the name of a new file");
    if (!fs::is_empty(out, error) || error) return fail(out.string() + ": is a folder that is not empty; choose another name");
  }
  const fs::path parent = parentOf(out);
  if (!fs::is_directory(parent, error)) return fail(parent.string() + ": no such folder");
  if (::access(parent.c_str(), W_OK | X_OK) != 0) return fail(parent.string() + ": cannot be written: " + std::strerror(errno));
  return {};
}

Result<Staging> Staging::create(const fs::path& destination, bool asFolder) {
  if (auto status = checkDestination(destination, asFolder); !status) return fail(status.error());
  const fs::path out = withoutTrailingSlash(destination);
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const std::string name =
        "." + out.filename().string() + ".partial-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
    const fs::path folder = parentOf(out) / name;
    std::error_code error;
    if (fs::create_directory(folder, error)) return Staging(folder, out, asFolder);
    if (error) return fail(parentOf(out).string() + ": cannot be written: " + error.message());
  }
  return fail(parentOf(out).string() + ": too many unfinished exports lie there");
}

Staging::Staging(fs::path folder, fs::path destination, bool asFolder)
    : m_folder(std::move(folder)), m_destination(std::move(destination)), m_asFolder(asFolder) {}

Staging::Staging(Staging&& other) noexcept
    : m_folder(std::exchange(other.m_folder, {})),
      m_destination(std::move(other.m_destination)),
      m_asFolder(other.m_asFolder) {}

Staging::~Staging() {
  if (m_folder.empty()) return;
  std::error_code ignored;
  fs::remove_all(m_folder, ignored);
}

fs::path Staging::place(const std::string& name) const {
  return m_folder / (m_asFolder ? fs::path(name) : m_destination.filename());
}

Status Staging::publish() {
  if (auto status = checkDestination(m_destination, m_asFolder); !status) return fail(status.error());
  syncFolder(m_folder);
  std::error_code error;
  if (m_asFolder) {
    fs::rename(m_folder, m_destination, error);
    if (!error) m_folder.clear();
  } else {
    fs::rename(place({}), m_destination, error);
    std::error_code ignored;
    if (!error) fs::remove_all(std::exchange(m_folder, {}), ignored);  // before the wait for the disk
  }
  if (error) return fail(m_destination.string() + ": cannot be renamed into place: " + error.message());
  syncFolder(parentOf(m_destination));
  return {};
}

}  // namespace nibble
