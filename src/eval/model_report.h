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

// The sections, each empty without data.

/// A row a task and metric, a column a model. Of a task's metrics those that usual practice
/// reports: acc_norm where there is one, else acc; word_perplexity of wikitext; all of others.
/// Below, the mean of the accuracy tasks that all models have, and its difference from the first
/// model's.
std::vector<ReportPart> task_section(const std::vector<ModelResults>& models);

/// RULER's tasks and recall: a row a task and model, a column a length, and a chart a task.
std::vector<ReportPart> length_section(const std::vector<ModelResults>& models);

/// How each task was measured, where the files say so: a row a task, a column a model.
std::vector<ReportPart> settings_section(const std::vector<ModelResults>& models);

/// A paragraph that names what two models were measured on in different ways; empty where there is
/// no such task.
std::string settings_difference(const std::vector<ModelResults>& models);

/// Needle grids: means over depths, and pictures.
std::vector<ReportPart> grid_section(const std::vector<ModelResults>& models);

/// Divergence, agreement and perplexity along the context, three charts; a place among the colours
/// is kept for a teacher that all have.
std::vector<Chart> comparison_charts(const std::vector<ModelComparison>& comparisons);

/// These charts, and tables by position.
std::vector<ReportPart> comparison_section(const std::vector<ModelComparison>& comparisons);

/// Milliseconds and bytes over the context.
std::vector<ReportPart> decode_section(const std::vector<DecodeSpeed>& speeds);

/// Losses over steps, a chart a stage.
std::vector<Chart> loss_charts(const std::vector<TrainingCurve>& curves);

/// These charts, and a row a run and stage.
std::vector<ReportPart> training_section(const std::vector<TrainingCurve>& curves);

}  // namespace hypenet
