// What a conversion shows at its end: the record of its measurements, the table, the report page.
#pragma once

#include <filesystem>
#include <vector>

#include "base/json.h"
#include "halo/recipe.h"
#include "halo/select.h"
#include "model/mixers/mixer_kind.h"
#include "report/page.h"
#include "run/evaluate.h"

namespace hypenet {

/// results.json.
struct ConversionRecord {
  Json settings;  // that led to it
  std::vector<int64_t> attention_layers;
  std::vector<const MixerKind*> mixer_types;  // of the HypeNet; none in older programs' records
  Evaluation teacher, hypenet;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("settings", settings);
    field("attention_layers", attention_layers);
    field("mixer_types", mixer_types);
    field("teacher", teacher);
    field("hypenet", hypenet);
  }
};

/// Layer by layer what a rule makes of the scores: R, C, importance, whether it is selected. The
/// same table for every rule; "-" where the scores have no such column. Throws Error as
/// layer_importances and select_layers do.
Table selection_table(const LayerScores& scores, SelectionRule rule, int64_t keep);

/// The sets of layers that were tried, best first.
Table pilots_table(const std::vector<PilotResult>& pilots);

/// Teacher beside HypeNet: perplexity, recall at each context, bytes of cache a token.
Table conversion_table(const ConversionRecord& record);

/// The page: table, losses by stage (from metrics.jsonl), importances by layer (from 3-select),
/// recall and cache over context.
Report conversion_report(const HaloRecipe& recipe, const ConversionRecord& record,
                         const std::filesystem::path& out);

}  // namespace hypenet
