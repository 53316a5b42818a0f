// What the forms of the recurrence share, and the forms that recurrence_chunked chooses from.
#pragma once

#include "ops/recurrence.h"

namespace hypenet {

/// Throws Error naming the tensor, what was expected and what was found.
void check_recurrence(const Recurrence& input);

/// The decay in the type of sums, one number or dk of them last: [1 or B, 1 or T, H, 1 or dk].
Tensor decay_of_tokens(const Recurrence& input);

/// Packed sequences by a form for one, one after the other; empty ones keep their state.
RecurrenceOutput by_sequence(const Recurrence& input, RecurrenceOutput (*form)(const Recurrence&));

/// Whether autograd wants a graph.
bool wants_gradient(const Recurrence& input);

/// Decay per head [H] without gradient, no beta, no delta rule.
bool has_constant_decay(const Recurrence& input);

/// recurrence_chunked where has_constant_decay: tensor code, which keeps q, k, v and the states
/// between chunks for its gradient.
RecurrenceOutput recurrence_constant(const Recurrence& input);

/// The same by the kernel of kernels/cuda: one launch forward, one backward; for bfloat16 tensors
/// with dk = dv of 64 or 128 (what the device has) and a scale that is not zero. Products are of
/// bfloat16 factors (also the state and the decayed keys'), sums and states float32.
bool suits_lightning_cuda(const Recurrence& input);
RecurrenceOutput lightning_cuda(const Recurrence& input);

/// The delta rule by the kernels of kernels/cuda, for bfloat16 tensors with dk = dv of 64 or 128
/// (what the device has), with any decay and beta, without packed sequences (by_sequence hands them
/// over one by one). Products are of bfloat16 factors, sums and the state on its way float32.
/// Forward it takes scratch memory of 1 (per channel: 2.5) times q, backward of 7 (10) times q.
bool suits_delta_rule_cuda(const Recurrence& input);
RecurrenceOutput delta_rule_cuda(const Recurrence& input);

/// A decay per head or per token and head without delta rule, with any beta, by the kernels of
/// kernels/cuda: for bfloat16 tensors with dk = dv of 64 or 128 on a GPU of Hopper's kind and a
/// scale that is not zero, without packed sequences (by_sequence hands them over one by one).
/// Products are of bfloat16 factors, sums and the state on its way float32. Backward takes scratch
/// memory of 0.3 times q and, where few heads are cut into segments, their states.
bool suits_token_decay_cuda(const Recurrence& input);
RecurrenceOutput token_decay_cuda(const Recurrence& input);

/// recurrence_step of these rows by the kernel of kernels/cuda, for bfloat16 and float32 tensors
/// with dk = dv of 64 or 128: it reads and writes each state once, and a row's bits are its own.
bool suits_token_decay_step(const Recurrence& input);
Tensor token_decay_step_cuda(const Recurrence& input, const Tensor& slots);

/// recurrence_constant's row by the kernels of kernels/cpu, for float32 on the CPU with dk = dv a
/// multiple of 16. The chunk is the kernels' own.
bool suits_recurrence_cpu(const Recurrence& input);
RecurrenceOutput recurrence_cpu(const Recurrence& input);

/// Whether recurrence_tokens_cpu takes an input: float32 on the CPU with dv a multiple of 4, but
/// for those that recurrence_constant serves.
bool suits_recurrence_tokens_cpu(const Recurrence& input);

/// Token by token by the kernel of kernels/cpu, without autograd: the output. `states`, contiguous,
/// are updated in place, those of the sequences, or of the rows' slots where `slots` are given.
Tensor recurrence_tokens_cpu(const Recurrence& input, const Tensor& states, const Tensor& slots);

}  // namespace hypenet
