// The forms of the ops that have kernels, and the one place of each op that says which form takes
// an input: its type, sizes and alignment. None waits for a device.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

namespace hypenet {

using torch::Tensor;

struct AttentionStepInput;
struct DeltaStepInput;
struct DplrRecurrence;
struct LightningStepInput;
struct LinearStepInput;
struct Mamba2StepInput;
struct Recurrence;
struct RopeAngles;
struct Rwkv7StepInput;
struct SlotAttention;
struct SlotStepInput;

enum class Form {
  kDevice,    // a kernel of kernels/cuda, or libtorch's fused attention
  kCpu,       // a kernel of kernels/cpu
  kComposed,  // tensor code, on any device: right, and slow
};

/// The form that an op takes for an input that it accepts.
Form form_of(const AttentionStepInput& input);
Form form_of(const DeltaStepInput& input);  // checked by the op
Form form_of(const DplrRecurrence& input);  // of dplr_recurrence
Form form_of(const LightningStepInput& input);
Form form_of(const LinearStepInput& input);
Form form_of(const Mamba2StepInput& input);  // checked by the op
Form form_of(const Recurrence& input);       // of recurrence_chunked
Form form_of(const Rwkv7StepInput& input);   // checked by the op
Form form_of(const SlotAttention& input);
Form form_of(const SlotStepInput& input);  // checked by the op
Form form_of_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                       const Tensor& first_key = {});
Form form_of_gate(const Tensor& x, const Tensor& gate);
Form form_of_norm(const Tensor& x, const Tensor& weight);
Form form_of_rope(const Tensor& x, const RopeAngles& angles);

/// What a GPU's kernels of a step take, in bfloat16: head sizes, and query heads of a key head.
constexpr bool is_step_head(int64_t size) { return size == 64 || size == 128; }
constexpr int64_t kMostStepGroup = 16;

}  // namespace hypenet
