// The arithmetic that training and prefill need, counted a token: what `hypenet bench` divides by.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace hypenet {

/// Floating-point operations a token of one part; a product and its addition are two.
struct FlopsPart {
  std::string name;
  double forward = 0, backward = 0;
  double sum() const { return forward + backward; }
};

/// A stage of HALO (1 align, 2 distill, 3 finetune) on sequences of `context` tokens: the products
/// of the linear layers (backward: twice forward; in stage 1 only o_proj passes a gradient on to
/// its input), causal attention (half of T x T, backward twice forward), chunked lightning
/// attention (docs/kernels.md, whole chunks of 64 without their causal half left out) and the
/// head. Elementwise work and what activation checkpointing repeats do not count. Stage 3 looks at
/// the student alone.
std::vector<FlopsPart> training_flops(const ModelConfig& teacher, const ModelConfig& student,
                                      int stage, int64_t context);

/// The prefill of a prompt of `context` tokens, counted as a forward above; the head, which the
/// last token alone meets, does not count.
std::vector<FlopsPart> prefill_flops(const ModelConfig& config, int64_t context);

double total_flops(const std::vector<FlopsPart>& parts);

}  // namespace hypenet
