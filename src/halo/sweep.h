// HALO step S, first half: each layer is scored by the teacher with that layer alone replaced by
// its aligned twin.
#pragma once

#include <functional>
#include <vector>

#include "engine/scoring.h"
#include "halo/select.h"
#include "model/causal_lm.h"

namespace hypenet {

/// What the two scores are computed on (eval/measures.h): the share of recall rows answered
/// exactly, and next-token accuracy on held-out text.
struct SweepRows {
  std::vector<ScoredRow> recall, text;
};

/// Throws Error naming `place` unless `twins` are all-recurrent twins of this teacher.
void check_twins(const ModelConfig& teacher, const ModelConfig& twins, const std::string& place);

/// Scores the teacher and all L replacements. The teacher's hidden states are computed once a
/// batch: the layers below the replaced one are never run again. `batch_tokens` bounds a batch;
/// `report(done, total)` counts batches, and may throw to stop.
LayerScores sweep_layers(CausalLm& teacher, CausalLm& twins, const SweepRows& rows,
                         int64_t batch_tokens, const std::function<void(int64_t, int64_t)>& report);

}  // namespace hypenet
