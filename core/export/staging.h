// SPDX-License-Identifier: GPL-3.0-or-later
// Where an export grows before it is proven: a hidden folder beside the destination, on the same file system, so that one
// rename publishes all of it. Destroyed without `publish` it takes everything with it. Never touches what is already at the
// destination.
#pragma once
#include "core/base/result.h"

#include <filesystem>

namespace nibble {

class Checkpoint;

class Staging {
 public:
  // `asFolder`: the destination is to be a folder of files; else a single file. Refuses a destination that exists (an empty
  // folder may be filled) and a folder that cannot be written.
  static Result<Staging> create(const std::filesystem::path& destination, bool asFolder);
  Staging(Staging&& other) noexcept;
  Staging(const Staging&) = delete;
  Staging& operator=(Staging&&) = delete;
  ~Staging();

  // Where to write the file `name` (of a single-file export: the only one, whatever its name).
  [[nodiscard]] std::filesystem::path place(const std::string& name) const;
  Status publish();

 private:
  Staging(std::filesystem::path folder, std::filesystem::path destination, bool asFolder);
  std::filesystem::path m_folder, m_destination;
  bool m_asFolder = false;
};

// Whether the destination would write over the files of the checkpoint.
Status checkNotSource(const Checkpoint& source, const std::filesystem::path& destination);
// What stands at the destination, as a refusal; without touching anything.
Status checkDestination(const std::filesystem::path& destination, bool asFolder);

}  // namespace nibble
