// SPDX-License-Identifier: GPL-3.0-or-later
// A folder of tests/data/packed under another config and with changed arrays: what a broken checkpoint is made of.
#pragma once
#include "core/io/checkpoint.h"
#include "core/io/safetensors_writer.h"
#include "tests/support/files.h"

#include <nlohmann/json.hpp>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace nibble::test {

class PackedVariant {
 public:
  // Array names below are those behind `module` ("model.layers.0.self_attn.k_proj.").
  PackedVariant(const std::string& folder, std::string module);

  nlohmann::json& config() { return m_config; }
  RawTensor& array(const std::string& key);
  void drop(const std::string& key);
  template <class T>
  void set(const std::string& key, std::size_t index, T value) {
    std::memcpy(array(key).owned.data() + index * sizeof(T), &value, sizeof(T));
  }
  template <class T>
  void add(const std::string& key, DType type, Shape shape, const std::vector<T>& values) {
    RawTensor added;
    added.name = m_module + key;
    added.type = type;
    added.shape = std::move(shape);
    added.owned.resize(values.size() * sizeof(T));
    std::memcpy(added.owned.data(), values.data(), added.owned.size());
    m_arrays.push_back(std::move(added));
  }
  // Another shape, the bytes cut or filled with 0.
  void reshape(const std::string& key, Shape shape);
  // The same bytes as another type of the same size.
  void retype(const std::string& key, DType type) { array(key).type = type; }
  std::shared_ptr<const Checkpoint> open();

 private:
  ScratchFolder m_scratch;
  std::string m_module;
  nlohmann::json m_config;
  std::vector<RawTensor> m_arrays;
};

}  // namespace nibble::test
