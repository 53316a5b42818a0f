// Keys and values in pages. What a page holds is known here and to the kernels (KvPageParams)
// alone; all else holds pages and passes them on.
#pragma once

#include <torch/types.h>
#include <torch/utils.h>

#include <vector>

#include "kernels/attention_step.h"

namespace hypenet {

using torch::Tensor;

/// Keys and values of tokens, [n, G, d] each.
struct KvRows {
  Tensor keys, values;
};

/// Keys and values of one attention layer, of all sequences, [pages, P, G, d] each, P a multiple of
/// 64: token t of the sequence in slot s lies at [table[s][t / P]][t % P], table the page table.
struct KvPages {
  Tensor keys, values;

  int64_t pages() const { return keys.size(0); }
  int64_t page_tokens() const { return keys.size(1); }
  int64_t heads() const { return keys.size(2); }
  int64_t head_size() const { return keys.size(3); }

  /// All that they consist of; the first dimension is that of pages.
  std::vector<Tensor> tensors() const { return {keys, values}; }

  /// Puts rows of any floating type at `places` (int64 [n], of places_in_pages); where `is_real`
  /// (bool [n]) is given, those of which it is true.
  void write(const Tensor& places, const KvRows& rows, const Tensor& is_real = {}) const;

  /// The first `tokens` tokens of `pages` (int64), in `type`.
  KvRows read(const Tensor& pages, int64_t tokens, torch::ScalarType type) const;
};

/// Pages that hold whatever the memory held; `options` has the type of keys and values.
KvPages new_kv_pages(torch::IntArrayRef shape, const torch::TensorOptions& options);

/// Bytes of a token in pages of this type.
int64_t kv_token_bytes(int64_t heads, int64_t head_size, torch::ScalarType type);

/// int64 [n]: page * P + offset of the tokens at `positions` (int64 [n]) of a sequence with these
/// pages (int64).
Tensor places_in_pages(const Tensor& pages, const Tensor& positions, int64_t page_tokens);

/// Throws Error "<op>: cache: .." unless they are whole and serve rows like q.
void check_kv_pages(const char* op, const KvPages& pages, const Tensor& q);

/// Whether their device's kernel of attention_step reads them.
bool suit_step_kernel(const KvPages& pages);

/// The kernels' view of pages that suit them.
kernels::KvPageParams kernel_pages(const KvPages& pages);

}  // namespace hypenet
