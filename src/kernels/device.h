// The kernels of kernels/cuda as one table. Callers reach them through it alone, so that a program
// without device code links an empty one and no caller asks.
#pragma once

#include "kernels/attention_step.h"
#include "kernels/cuda/delta_rule.h"
#include "kernels/cuda/delta_step.h"
#include "kernels/cuda/dplr.h"
#include "kernels/cuda/head_gates.h"
#include "kernels/cuda/join_attention.h"
#include "kernels/cuda/lightning.h"
#include "kernels/cuda/linear_step.h"
#include "kernels/cuda/mean_squared_error.h"
#include "kernels/cuda/rwkv7_gates.h"
#include "kernels/cuda/rwkv7_step.h"
#include "kernels/cuda/sampling.h"
#include "kernels/cuda/short_convolution.h"
#include "kernels/cuda/short_convolution_step.h"
#include "kernels/cuda/slot_attention.h"
#include "kernels/cuda/slot_rows.h"
#include "kernels/cuda/slot_step.h"
#include "kernels/cuda/step_inputs.h"
#include "kernels/cuda/stopwatch.h"
#include "kernels/cuda/token_decay.h"
#include "kernels/cuda/token_decay_step.h"
#include "kernels/cuda/top_logprobs.h"
#include "kernels/cuda/vocabulary_loss.h"
#include "kernels/gating.h"
#include "kernels/lightning_step.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"

namespace hypenet::kernels {

/// What every kernel of an empty table answers.
template <class... Arguments>
Status no_kernel(Arguments... /*unused*/) {
  return {"this program was built without CUDA kernels"};
}

/// What every question about an empty table's kernels answers: none, 0.
template <class Number, class... Arguments>
Number nothing(Arguments... /*unused*/) {
  return 0;
}

/// A kernel of one params struct.
template <class Params>
using DeviceKernel = Status (*)(const Params&, Stream);

/// Each field is the function of its name in namespace cuda, beside whose declaration its contract
/// stands. Fields
/// begin as the empty table's, so that each may be called.
struct DeviceKernels {
  DeviceKernel<AttentionStepParams> attention_step = no_kernel;
  int64_t (*attention_step_floats)(const AttentionStepParams&) = nothing;
  DeviceKernel<cuda::DeltaStepParams> delta_step = no_kernel;
  DeviceKernel<cuda::GatedHeadsParams> gated_heads = no_kernel;
  DeviceKernel<GateParams> swiglu = no_kernel;
  DeviceKernel<GateParams> sigmoid_gate = no_kernel;
  DeviceKernel<GateBackwardParams> swiglu_backward = no_kernel;
  DeviceKernel<GateBackwardParams> sigmoid_gate_backward = no_kernel;
  DeviceKernel<cuda::DeltaRuleParams> delta_rule = no_kernel;
  DeviceKernel<cuda::DeltaRuleBackwardParams> delta_rule_backward = no_kernel;
  int64_t (*delta_rule_bytes)(const cuda::DeltaRuleParams&, bool is_backward) = nothing;
  bool (*has_delta_rule)(int64_t size, bool is_per_channel) = nothing;
  DeviceKernel<cuda::DplrParams> dplr = no_kernel;
  DeviceKernel<cuda::DplrBackwardParams> dplr_backward = no_kernel;
  int64_t (*dplr_bytes)(const cuda::DplrParams&, bool is_backward) = nothing;
  bool (*has_dplr)(int64_t size) = nothing;
  DeviceKernel<cuda::JoinAttentionParams> join_attention = no_kernel;
  DeviceKernel<cuda::LightningParams> lightning = no_kernel;
  bool (*has_lightning)(int64_t size) = nothing;
  DeviceKernel<LightningStepParams> lightning_step = no_kernel;
  DeviceKernel<cuda::LinearStepParams> linear_step = no_kernel;
  DeviceKernel<cuda::MeanSquaredErrorParams> mean_squared_error = no_kernel;
  DeviceKernel<cuda::NormGateParams> norm_gate = no_kernel;
  int64_t (*norm_gate_parts)(const cuda::NormGateParams&) = nothing;
  DeviceKernel<cuda::NormGateBackwardParams> norm_gate_backward = no_kernel;
  DeviceKernel<RmsNormParams> rms_norm = no_kernel;
  int64_t (*rms_norm_backward_parts)(const RmsNormBackwardParams&) = nothing;
  DeviceKernel<RmsNormBackwardParams> rms_norm_backward = no_kernel;
  DeviceKernel<RopeParams> rope = no_kernel;
  int64_t (*norm_rope_backward_parts)(const NormRopeBackwardParams&) = nothing;
  DeviceKernel<NormRopeBackwardParams> norm_rope_backward = no_kernel;
  DeviceKernel<cuda::Rwkv7GatesParams> rwkv7_gates = no_kernel;
  int64_t (*rwkv7_gates_parts)(const cuda::Rwkv7GatesParams&) = nothing;
  DeviceKernel<cuda::Rwkv7GatesBackwardParams> rwkv7_gates_backward = no_kernel;
  DeviceKernel<cuda::Rwkv7StepParams> rwkv7_step = no_kernel;
  int64_t (*sample_scratch_words)(int64_t rows, int64_t vocabulary) = nothing;
  Status (*sample_tokens)(const SampleParams&, uint32_t* scratch, Stream) = no_kernel;
  DeviceKernel<cuda::ShortConvolutionParams> short_convolution = no_kernel;
  int64_t (*short_convolution_parts)(const cuda::ShortConvolutionParams&) = nothing;
  DeviceKernel<cuda::ShortConvolutionBackwardParams> short_convolution_backward = no_kernel;
  DeviceKernel<cuda::ShortConvolutionStepParams> short_convolution_step = no_kernel;
  DeviceKernel<cuda::SkipGateParams> skip_gate = no_kernel;
  int64_t (*skip_gate_parts)(const cuda::SkipGateParams&) = nothing;
  DeviceKernel<cuda::SkipGateBackwardParams> skip_gate_backward = no_kernel;
  DeviceKernel<cuda::SlotAttentionParams> slot_attention = no_kernel;
  DeviceKernel<cuda::SlotAttentionBackwardParams> slot_attention_backward = no_kernel;
  int64_t (*slot_attention_bytes)(const cuda::SlotAttentionSizes&, bool is_backward) = nothing;
  bool (*has_slot_attention)(const cuda::SlotAttentionSizes&) = nothing;
  DeviceKernel<cuda::SlotStepParams> slot_step = no_kernel;
  Status (*take_slot_rows)(const cuda::SlotRowsParams&, int32_t* row_tokens, int32_t* row_positions,
                           Stream) = no_kernel;
  Status (*put_slot_rows)(const cuda::SlotRowsParams&, const int32_t* ids, const float* logprobs,
                          int32_t* packed, Stream) = no_kernel;
  DeviceKernel<cuda::StepInputsParams> step_inputs = no_kernel;
  DeviceKernel<cuda::StopwatchParams> stopwatch = no_kernel;
  DeviceKernel<cuda::TokenDecayParams> token_decay = no_kernel;
  DeviceKernel<cuda::TokenDecayBackwardParams> token_decay_backward = no_kernel;
  int64_t (*token_decay_bytes)(const cuda::TokenDecayParams&, bool is_backward) = nothing;
  bool (*has_token_decay)(int64_t size) = nothing;
  DeviceKernel<cuda::TokenDecayStepParams> token_decay_step = no_kernel;
  DeviceKernel<TopLogprobsParams> top_logprobs = no_kernel;
  DeviceKernel<cuda::VocabularyLossParams> cross_entropy = no_kernel;
  DeviceKernel<cuda::VocabularyLossParams> kl_divergence = no_kernel;
};

/// The program's table, full or empty: kernels/cuda and kernels/no_cuda each define it.
const DeviceKernels& device_kernels();

}  // namespace hypenet::kernels
