// The program has device kernels: the table is full.
#include "kernels/device.h"

namespace hypenet::kernels {
namespace {

DeviceKernels full_table() {
  DeviceKernels table;
  table.attention_step = cuda::attention_step;
  table.attention_step_floats = cuda::attention_step_floats;
  table.delta_step = cuda::delta_step;
  table.gated_heads = cuda::gated_heads;
  table.swiglu = cuda::swiglu;
  table.sigmoid_gate = cuda::sigmoid_gate;
  table.swiglu_backward = cuda::swiglu_backward;
  table.sigmoid_gate_backward = cuda::sigmoid_gate_backward;
  table.delta_rule = cuda::delta_rule;
  table.delta_rule_backward = cuda::delta_rule_backward;
  table.delta_rule_bytes = cuda::delta_rule_bytes;
  table.has_delta_rule = cuda::has_delta_rule;
  table.dplr = cuda::dplr;
  table.dplr_backward = cuda::dplr_backward;
  table.dplr_bytes = cuda::dplr_bytes;
  table.has_dplr = cuda::has_dplr;
  table.join_attention = cuda::join_attention;
  table.lightning = cuda::lightning;
  table.has_lightning = cuda::has_lightning;
  table.lightning_step = cuda::lightning_step;
  table.linear_step = cuda::linear_step;
  table.mean_squared_error = cuda::mean_squared_error;
  table.norm_gate = cuda::norm_gate;
  table.norm_gate_parts = cuda::norm_gate_parts;
  table.norm_gate_backward = cuda::norm_gate_backward;
  table.rms_norm = cuda::rms_norm;
  table.rms_norm_backward_parts = cuda::rms_norm_backward_parts;
  table.rms_norm_backward = cuda::rms_norm_backward;
  table.rope = cuda::rope;
  table.norm_rope_backward_parts = cuda::norm_rope_backward_parts;
  table.norm_rope_backward = cuda::norm_rope_backward;
  table.rwkv7_gates = cuda::rwkv7_gates;
  table.rwkv7_gates_parts = cuda::rwkv7_gates_parts;
  table.rwkv7_gates_backward = cuda::rwkv7_gates_backward;
  table.rwkv7_step = cuda::rwkv7_step;
  table.sample_scratch_words = cuda::sample_scratch_words;
  table.sample_tokens = cuda::sample_tokens;
  table.short_convolution = cuda::short_convolution;
  table.short_convolution_parts = cuda::short_convolution_parts;
  table.short_convolution_backward = cuda::short_convolution_backward;
  table.short_convolution_step = cuda::short_convolution_step;
  table.skip_gate = cuda::skip_gate;
  table.skip_gate_parts = cuda::skip_gate_parts;
  table.skip_gate_backward = cuda::skip_gate_backward;
  table.slot_attention = cuda::slot_attention;
  table.slot_attention_backward = cuda::slot_attention_backward;
  table.slot_attention_bytes = cuda::slot_attention_bytes;
  table.has_slot_attention = cuda::has_slot_attention;
  table.slot_step = cuda::slot_step;
  table.take_slot_rows = cuda::take_slot_rows;
  table.put_slot_rows = cuda::put_slot_rows;
  table.step_inputs = cuda::step_inputs;
  table.stopwatch = cuda::stopwatch;
  table.token_decay = cuda::token_decay;
  table.token_decay_backward = cuda::token_decay_backward;
  table.token_decay_bytes = cuda::token_decay_bytes;
  table.has_token_decay = cuda::has_token_decay;
  table.token_decay_step = cuda::token_decay_step;
  table.top_logprobs = cuda::top_logprobs;
  table.cross_entropy = cuda::cross_entropy;
  table.kl_divergence = cuda::kl_divergence;
  return table;
}

}  // namespace

bool has_cuda_kernels() { return true; }

const DeviceKernels& device_kernels() {
  static const DeviceKernels kFull = full_table();
  return kFull;
}

}  // namespace hypenet::kernels
