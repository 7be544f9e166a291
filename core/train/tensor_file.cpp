// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/tensor_file.h"

#include "core/io/atomic_file.h"

namespace nibble::train {

Status writeTensors(const std::filesystem::path& path, const std::vector<RawTensor>& tensors) {
  auto file = AtomicFile::create(path);
  if (!file) return fail(file.error());
  NIBBLE_TRY(writeSafetensors(*file, tensors));
  NIBBLE_TRY(file->sync());
  return file->commit();
}

}  // namespace nibble::train
