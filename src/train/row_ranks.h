// What each rank of a job computes of a step: rows, or, where several ranks share the tokens of a
// row whose activations one GPU cannot hold (StageConfig::row_ranks), tokens of rows.
#pragma once

#include "ops/row_parts.h"
#include "ranks/ranks.h"
#include "train/loop.h"

namespace hypenet {

/// What takes rows from a step's batch: the groups of the ranks that share rows.
Ranks row_groups(const StageConfig& stage, Ranks ranks);

/// This rank's tokens of such rows: ids, targets and answers [B, n] of [B, T].
Batch own_tokens(const StageConfig& stage, Ranks ranks, const Batch& rows);

/// What a model has to know to compute them (CausalLm::split_rows): null where rows stay whole. All
/// ranks of the job call it, at the start of a stage.
RowPartsPointer new_row_parts(const StageConfig& stage, Communicator& communicator);

/// The micro-batches of a step that these ranks compute.
int64_t micro_batches(const StageConfig& stage, Ranks ranks);

/// Throws Error naming `place` unless a job of these ranks can share out the rows of a step as the
/// stage says, of a model with these mixers.
void check_row_ranks(const StageConfig& stage, Ranks ranks,
                     const std::vector<const MixerKind*>& mixers, const std::string& place);

}  // namespace hypenet
