// Rows whose tokens are shared out to several ranks: what these exchange, so that each computes
// what a whole row has at its own tokens (docs/kernels.md, "A row on several ranks").
#pragma once

#include <torch/custom_class.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "ops/recurrence.h"

namespace hypenet {

/// This rank's part of every row, and the way to the ranks that have the others. All of them make
/// the same calls in the same order.
class RowParts : public torch::CustomClassHolder {
 public:
  /// Part `index` of `count`, in the order of the tokens, of rows of `tokens` >= count tokens.
  RowParts(int64_t index, int64_t count, int64_t tokens)
      : index_(index), count_(count), tokens_(tokens) {}

  int64_t index() const { return index_; }
  int64_t count() const { return count_; }
  int64_t tokens() const { return tokens_; }

  /// The first token of a part; its last is before first_token(part + 1). Parts differ by one token
  /// at most.
  int64_t first_token(int64_t part) const { return tokens_ * part / count_; }
  int64_t tokens_of(int64_t part) const { return first_token(part + 1) - first_token(part); }
  int64_t most_tokens() const { return (tokens_ + count_ - 1) / count_; }

  /// The tensors of all parts in their order, [count, ...], from each part's own [...], of one
  /// shape and dense. No autograd; on a GPU it may be recorded in a graph. So may sum_own.
  virtual Tensor gather(const Tensor& own) = 0;

  /// This part's own [...] of the sum over all parts' [count, ...], which are dense and spent.
  virtual Tensor sum_own(const Tensor& for_all) = 0;

 private:
  int64_t index_, count_, tokens_;
};

using RowPartsPointer = c10::intrusive_ptr<RowParts>;

/// causal_attention of whole rows at a part's tokens: q [B, n, H, d], k, v [B, n, G, d] are those
/// of the part. Every rank has all of them for a time, and computes as much as the others. Returns
/// [B, n, H, d]. Differentiable; all parts have to run backward.
Tensor row_attention(const Tensor& q, const Tensor& k, const Tensor& v, const RowPartsPointer& row);

/// The output of a recurrence over whole rows from a zero state at a part's tokens: `input` holds
/// those, without offsets and state. Returns [B, n, H, dv]. Differentiable in q, k, v, decay and
/// beta; all parts have to run backward. Unless the decay is constant (lightning attention), it
/// costs a second recurrence with values of dk channels.
Tensor row_recurrence(const Recurrence& input, const RowPartsPointer& row);

/// What short convolutions of a part's inputs [B, n, C] find before them (ops/short_convolution.h):
/// of each the row's last `count` > 0 tokens before the part, [B, C, count], zeros before the row's
/// first. Differentiable; all parts have to run backward. One exchange.
std::vector<Tensor> row_tails(const std::vector<Tensor>& inputs, int64_t count,
                              const RowPartsPointer& row);

}  // namespace hypenet
