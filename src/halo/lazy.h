// The evidence of the rule "lazy" (LightTransfer, arXiv 2410.13846, equation 1): how much of each
// layer's attention goes to the first and the most recent tokens, where a sliding window would do.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/scoring.h"
#include "model/causal_lm.h"
#include "ranks/ranks.h"

namespace hypenet {

/// The windows of the lazy ratio, in tokens. The paper's are those of contexts of many thousands;
/// these suit the sweep's rows.
struct LazyConfig {
  int64_t queries = 32;  // the last ones of a row, which are looked at
  int64_t first = 4;     // tokens at the row's beginning
  int64_t recent = 64;   // tokens at the row's end
  template <class Visitor>
  void visit(Visitor&& field) {
    field("queries", queries);
    field("first", first);
    field("recent", recent);
  }
};

/// The share of softmax(q k^T / sqrt d) that the last config.queries queries put on the first
/// config.first and the last config.recent keys, mean over rows, heads and those queries. q [B, T,
/// H, d], k [B, T, G, d], as attention reads them; float32 from here on. A query sees no key after
/// it. Throws Error for rows without other keys.
double lazy_mass(const Tensor& q, const Tensor& k, const LazyConfig& config);

/// The mean of lazy_mass over rows for every layer, from one forward of the teacher, each rank on
/// its rows. Rows are equally long.
std::vector<double> lazy_masses(CausalLm& teacher, const std::vector<ScoredRow>& rows,
                                const LazyConfig& config, Communicator& ranks);

}  // namespace hypenet
