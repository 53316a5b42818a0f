// Sequences run through a model's memory by hand: pages in an order of their own, NaN where nothing
// was written.
#pragma once

#include <numeric>

#include "model/causal_lm.h"

namespace hypenet::testing_support {

class SequenceRows {
 public:
  SequenceRows(CausalLm& model, int64_t B, int64_t capacity)
      : model_(model),
        pages_((capacity + kPageTokens - 1) / kPageTokens),
        state_(model->config(), {.slots = B, .pages = B * pages_, .page_tokens = kPageTokens},
               model->memory_types(), model->head_weight().device()),
        lengths_(static_cast<size_t>(B), 0) {
    std::vector<int32_t> all(static_cast<size_t>(B * pages_));
    std::iota(all.rbegin(), all.rend(), 0);
    state_.poison({0, all});
    table_ = torch::tensor(all, torch::kInt32).view({pages_, B}).t().contiguous();
    for (int64_t slot = 0; slot < B; ++slot) state_.clear_slot(slot);
  }

  /// Logits [B, T, V] of the next tokens [B, T] of all sequences, so many columns at a time.
  Tensor step_in_pieces(const Tensor& ids, const std::vector<int64_t>& pieces) {
    std::vector<Tensor> logits;
    int64_t begin = 0;
    for (const int64_t count : pieces) {
      logits.push_back(step(ids.narrow(1, begin, count)));
      begin += count;
    }
    return torch::cat(logits, 1);
  }

  /// Logits [1, V] after the next tokens [T] of one sequence.
  Tensor prefill(int64_t slot, const Tensor& ids) {
    int64_t& length = lengths_[static_cast<size_t>(slot)];
    const Tensor h = model_->prefill(
        ids, {.slot = slot, .past = length, .pages = table_[slot].to(torch::kInt64)}, state_);
    length += ids.size(0);
    return model_->step_logits(h);
  }

  /// The same in so many rows; those behind the tokens are nobody's.
  Tensor prefill_padded(int64_t slot, const Tensor& ids, int64_t rows) {
    int64_t& length = lengths_[static_cast<size_t>(slot)];
    const int64_t T = ids.size(0);
    const Tensor positions = torch::arange(length, length + rows, ids.options());
    const Tensor pages = table_[slot].to(torch::kInt64);
    const Tensor nobodys = torch::full({rows - T}, 7, ids.options());
    const CausalLmImpl::PaddedChunk chunk{torch::cat({ids, nobodys}), positions,
                                          torch::full({1}, T - 1, ids.options())};
    const Tensor h =
        model_->prefill(chunk,
                        {.slot = slot,
                         .past = length,
                         .pages = pages,
                         .places = places_in_pages(pages, positions.narrow(0, 0, T), kPageTokens),
                         .tokens = T},
                        state_);
    length += T;
    return model_->step_logits(h);
  }

  /// Makes one sequence the copy of another.
  void copy(int64_t from, int64_t to) {
    const auto place = [&](int64_t slot) {
      const Tensor row = table_[slot].contiguous();
      const auto* pages = row.const_data_ptr<int32_t>();
      return std::vector<int32_t>(pages, pages + pages_);
    };
    const auto source = place(from), target = place(to);
    state_.copy({from, source}, {to, target});
    lengths_[static_cast<size_t>(to)] = lengths_[static_cast<size_t>(from)];
  }

 private:
  static constexpr int64_t kPageTokens = 64;

  Tensor step(const Tensor& ids) {
    const int64_t B = ids.size(0), T = ids.size(1);
    std::vector<Tensor> slots, positions;
    for (int64_t slot = 0; slot < B; ++slot) {
      int64_t& length = lengths_[static_cast<size_t>(slot)];
      slots.push_back(torch::full({T}, slot, torch::kInt32));
      positions.push_back(torch::arange(length, length + T, torch::kInt32));
      length += T;
    }
    const Tensor h = model_->step(
        ids.flatten().to(torch::kInt32),
        {.slots = torch::cat(slots), .positions = torch::cat(positions), .page_table = table_},
        state_);
    return model_->step_logits(h).view({B, T, -1});
  }

  CausalLm& model_;
  int64_t pages_;
  DecodeState state_;
  Tensor table_;
  std::vector<int64_t> lengths_;
};

}  // namespace hypenet::testing_support
