// What a conversion shows at its end: the record of its measurements, the table, the report page.
#pragma once

#include <filesystem>
#include <vector>

#include "base/json.h"
#include "eval/report.h"
#include "halo/evaluate.h"
#include "halo/recipe.h"

namespace hypenet {

/// results.json.
struct ConversionRecord {
  Json settings;  // that led to it
  std::vector<int64_t> attention_layers;
  Evaluation teacher, hypenet;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("settings", settings);
    field("attention_layers", attention_layers);
    field("teacher", teacher);
    field("hypenet", hypenet);
  }
};

/// Teacher beside HypeNet: perplexity, recall at each context, bytes of cache a token.
Table conversion_table(const ConversionRecord& record);

/// The page: table, losses by stage (from metrics.jsonl), importances by layer (from 3-select),
/// recall and cache over context.
Report conversion_report(const HaloRecipe& recipe, const ConversionRecord& record,
                         const std::filesystem::path& out);

}  // namespace hypenet
