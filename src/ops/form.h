// The forms of the ops of an inference step, and the one place of each op that says which form
// takes an input: its type, sizes and alignment.
#pragma once

namespace hypenet {

struct AttentionStepInput;
struct LightningStepInput;
struct LinearStepInput;

enum class Form {
  kDevice,    // a kernel of kernels/cuda
  kCpu,       // a kernel of kernels/cpu
  kComposed,  // tensor code, on any device: right, and slow
};

/// The form that the op takes for an input that it accepts. Never waits for a device.
Form form_of(const AttentionStepInput& input);
Form form_of(const LightningStepInput& input);
Form form_of(const LinearStepInput& input);

}  // namespace hypenet
