// One page about several models: what eval, compare, bench decode and training found, side by side.
#pragma once

#include <string>
#include <vector>

#include "eval/result_files.h"
#include "report/page.h"

namespace hypenet {

/// What a report is made of, in the order in which it is shown; each may be empty.
struct ModelReportData {
  std::vector<ModelResults> models = {};
  std::vector<ModelComparison> comparisons = {};
  std::vector<DecodeSpeed> speeds = {};
  std::vector<TrainingCurve> curves = {};
};

/// The page. What a model was not measured on is an empty cell; what nobody was measured on has no
/// section. A name has one colour in all charts.
Report model_report(const std::string& title, const ModelReportData& data);

/// Divergence, agreement and perplexity along the context, three charts; a place among the colours
/// is kept for a teacher that all have.
std::vector<Chart> comparison_charts(const std::vector<ModelComparison>& comparisons);

/// Losses over steps, a chart a stage.
std::vector<Chart> loss_charts(const std::vector<TrainingCurve>& curves);

}  // namespace hypenet
