// A recurrence's inputs, results and gradients that were computed elsewhere (tests/data/mixers).
#pragma once

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "tests/support/close_tensors.h"

namespace hypenet::testing_support {

using torch::Tensor;

/// The tensors "<name>.*" of a mixer's file, all float32.
inline std::map<std::string, Tensor> read_case(const std::string& mixer, const std::string& name) {
  const std::string file = read_file(HYPENET_TEST_DATA "/mixers/" + mixer + ".safetensors");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  std::map<std::string, Tensor> tensors;
  const Json header = parse_json(file.substr(8, length), mixer);
  for (const auto& [key, entry] : header.items()) {
    if (!key.starts_with(name + ".")) continue;
    const char* const data = file.data() + 8 + length + entry["data_offsets"][0].get<size_t>();
    const auto shape = entry["shape"].get<std::vector<int64_t>>();
    tensors[key.substr(name.size() + 1)] =
        torch::from_blob(const_cast<char*>(data), shape, torch::kFloat32).clone();
  }
  return tensors;
}

/// A case in one type: its inputs as leaves, and what must come of them.
class MixerCase {
 public:
  MixerCase(const std::string& mixer, const std::string& name, torch::ScalarType type)
      : tensors_(read_case(mixer, name)), type_(type) {}

  /// A copy that gradients are asked for; undefined where the case has none.
  Tensor leaf(const std::string& name) {
    if (!tensors_.contains(name)) return {};
    const Tensor x = tensors_[name].to(type_, false, true).requires_grad_();
    leaves_.emplace_back(name, x);
    return x;
  }

  /// Results, named as in the file, and the gradients of all leaves are within `tolerance` of a
  /// tensor's largest entry. A gradient that the file has not is zero.
  void expect(const std::vector<std::pair<std::string, Tensor>>& results, double tolerance) const {
    std::vector<Tensor> outputs, cotangents, leaves;
    for (const auto& [name, found] : results) {
      expect_near(name, found, tolerance);
      if (!tensors_.contains("d_" + name)) continue;
      outputs.push_back(found), cotangents.push_back(tensors_.at("d_" + name).to(type_));
    }
    if (outputs.empty()) return;
    for (const auto& [name, leaf] : leaves_) leaves.push_back(leaf);
    const auto gradients = torch::autograd::grad(outputs, leaves, cotangents);
    for (size_t i = 0; i < leaves.size(); ++i) {
      expect_near("grad." + leaves_[i].first, gradients[i], tolerance);
    }
  }

 private:
  void expect_near(const std::string& name, const Tensor& found, double tolerance) const {
    const auto stored = tensors_.find(name);
    const Tensor wide = found.detach().to(torch::kFloat64);
    const Tensor expected =
        stored == tensors_.end() ? torch::zeros_like(wide) : stored->second.to(torch::kFloat64);
    EXPECT_LT(largest_error(wide, expected), tolerance) << name;
  }

  std::map<std::string, Tensor> tensors_;
  torch::ScalarType type_;
  std::vector<std::pair<std::string, Tensor>> leaves_;
};

}  // namespace hypenet::testing_support
