// SPDX-License-Identifier: GPL-3.0-or-later
// Any file is a checkpoint or an error; what is listed is read or refused. Goes through the file system, as the reader does.
#include "core/base/contracts.h"
#include "core/io/checkpoint.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int descriptor = ::memfd_create("fuzz", MFD_CLOEXEC);
  NIBBLE_EXPECTS(descriptor >= 0 && ::write(descriptor, data, size) == static_cast<ssize_t>(size));
  const auto opened = nibble::Checkpoint::open("/proc/self/fd/" + std::to_string(descriptor));
  if (opened) {
    for (std::size_t i = 0; i < (*opened)->entries().size(); ++i) {
      const auto tensor = (*opened)->read(i);
      if (tensor && tensor->size() > 0) {
        float last = 0;
        NIBBLE_EXPECTS(tensor->read(tensor->size() - 1, {&last, 1}).has_value());
      }
    }
  }
  ::close(descriptor);
  return 0;
}
