// Prefills of short chunks on a GPU, which cost the host's launches more than the device's work:
// what works token by token is recorded once for each number of rows.
#pragma once

#include <optional>

#include "model/causal_lm.h"
#include "ops/graph.h"

namespace hypenet {

/// The rows in which a chunk of so many tokens is computed, a function of that number alone, as
/// products of other sizes have other last bits; 0: too many to gain from a recording.
int64_t recorded_rows(int64_t tokens);
inline constexpr int64_t kMostRecordedRows = 2048;

/// Prefills in `rows` rows. The first runs as it is, the second is recorded; all have the same
/// bits.
class PrefillRecording {
 public:
  /// All three outlive it; recordings of other sizes may share `memory`.
  PrefillRecording(CausalLm& model, DecodeState& state, GraphMemory& memory, int64_t rows);
  PrefillRecording(const PrefillRecording&) = delete;
  PrefillRecording& operator=(const PrefillRecording&) = delete;

  /// CausalLm::prefill of ids int64 [T], T at most `rows`.
  Tensor run(const Tensor& ids, const Prefix& prefix);

 private:
  void record();

  CausalLm& model_;
  DecodeState& state_;
  GraphMemory& memory_;
  CausalLmImpl::PaddedChunk chunk_;  // what the recording reads
  Prefix now_;                       // the chunk that is running
  int64_t runs_ = 0;
  std::optional<GraphSeries> series_;
  Tensor residual_;  // what the recording writes
};

}  // namespace hypenet
