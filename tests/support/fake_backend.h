// SPDX-License-Identifier: GPL-3.0-or-later
// The CUDA backend's own source over a device that is none (fake_device.h), with slots of a size that tests choose and nothing
// left to the CPU for being small.
#pragma once
#include "kernels/cuda/device_backend.h"
#include "tests/support/fake_device.h"

#include <algorithm>

namespace nibble::test {

struct FakeBackend {
  std::shared_ptr<DeviceLedger> ledger = std::make_shared<DeviceLedger>();
  std::unique_ptr<kernels::emulated::DeviceBackend> backend;
  explicit FakeBackend(const FakePlan& plan = {}, std::size_t slotBytes = 1 << 20, unsigned count = 3) {
    kernels::emulated::DeviceSettings settings;
    settings.staging = {count, slotBytes, std::min<std::size_t>(slotBytes, 6 << 10)};
    settings.leastWeights = 0;
    settings.leastMultiplications = 0;
    backend = std::make_unique<kernels::emulated::DeviceBackend>(std::make_unique<FakeDevice>(plan, ledger), settings);
  }
};

}  // namespace nibble::test
