// Which rows are scored together: those that begin alike, then those of about one length.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/scoring.h"

namespace hypenet {

/// Places of rows, in batches of at most `batch_tokens` distinct tokens each (model/token_tree.h)
/// and six times as many in rows padded to the longest. A row that is longer runs with those that
/// begin with half of it or more, up to half a batch of further tokens. Long rows come first.
/// Within a batch rows that begin alike are neighbours. Which batch a row is in depends on the rows
/// alone, not on their order.
RowBatches score_batches(std::span<const ScoredRow> rows, int64_t batch_tokens);

}  // namespace hypenet
