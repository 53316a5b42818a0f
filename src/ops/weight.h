// One weight of a model, in the forms that it has.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include "ops/packed_weight.h"

namespace hypenet {

using torch::Tensor;

/// A parameter, and what computing reads in its place. Whoever multiplies by a weight takes this
/// type: another format of what is read (fewer bits with scales, a rank's share) is a member here.
struct Weight {
  Weight() = default;
  Weight(Tensor master, Tensor copy = {}) : master(std::move(master)), copy(std::move(copy)) {}

  Tensor master;  // the parameter, which is trained and saved; undefined: there is no such weight
  Tensor copy;    // of it, in the type that is computed in; undefined: the master is read
  // Read in place of both; the master then has no content, but NaN, and takes no memory.
  PackedWeightPointer packed = {};

  bool defined() const { return master.defined(); }

  /// What is read where no cast is wanted.
  const Tensor& read() const { return copy.defined() ? copy : master; }

  /// What is read by a product with this type: the copy, else a cast, which may be the master
  /// itself; packed weights are expanded. No autograd.
  Tensor in_type(torch::ScalarType type) const {
    if (packed) return expand(*packed).to(type);
    if (!defined() || (copy.defined() && copy.scalar_type() == type)) return copy;
    return master.detach().to(type);
  }
};

/// A linear layer: weight [out, in], bias [out] in the weight's type, or none.
struct LinearWeights {
  Weight weight, bias = {};
};

}  // namespace hypenet
