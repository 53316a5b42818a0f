// What stands below the headings of the page of several models: of each section nothing without
// data. The table of sections is in model_report.cpp.
#pragma once

#include <string>
#include <vector>

#include "eval/model_report.h"

namespace hypenet {

using ReportParts = std::vector<ReportPart>;

/// A row a task and metric, a column a model. Of a task's metrics those that usual practice
/// reports: acc_norm where there is one, else acc; word_perplexity of wikitext; all of others.
/// Below, the mean of the accuracy tasks that all models have, and its difference from the first
/// model's.
ReportParts task_parts(const ModelReportData& data);

/// RULER's tasks and recall: a row a task and model, a column a length, and a chart a task.
ReportParts length_parts(const ModelReportData& data);

/// Needle grids: means over depths, and pictures.
ReportParts grid_parts(const ModelReportData& data);

/// How each task was measured, where the files say so: a row a task, a column a model.
ReportParts settings_parts(const ModelReportData& data);

/// A paragraph that names what models were measured on in different ways; empty where there is no
/// such task.
std::string settings_difference(const std::vector<ModelResults>& models);

}  // namespace hypenet
