// SPDX-License-Identifier: GPL-3.0-or-later
// Any safetensors file with the arrays of EXL2 or MBWQ layers is such layers or errors that say where; what is read decodes
// within its shape, and packs again.
#include "core/base/contracts.h"
#include "core/formats/format.h"
#include "core/quant/decode.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int descriptor = ::memfd_create("fuzz", MFD_CLOEXEC);
  NIBBLE_EXPECTS(descriptor >= 0 && ::write(descriptor, data, size) == static_cast<ssize_t>(size));
  const auto opened = nibble::Checkpoint::open("/proc/self/fd/" + std::to_string(descriptor));
  if (opened) {
    for (const char* id : {"exl2", "mbwq"}) {
      const nibble::Format& format = *nibble::findFormat(id);
      for (const nibble::PackedLayer& layer : format.detect(**opened)) {
        const auto tensor = format.read(**opened, layer);
        if (!tensor) {
          NIBBLE_EXPECTS(!tensor.error().message.empty() && tensor.error().message.find('\n') == std::string::npos);
          continue;
        }
        NIBBLE_EXPECTS(tensor->shape == layer.shape && nibble::decodeAll(*tensor).size() == tensor->weightCount());
        NIBBLE_EXPECTS(format.pack({layer.name, &*tensor, std::nullopt}).has_value() || format.refusal(*tensor).has_value());
      }
    }
  }
  ::close(descriptor);
  return 0;
}
