// Attention layer selection from the sweep's scores (specification 3, step S).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// One sweep: for the unchanged teacher and for each replaced layer, recall R and reasoning C
/// (means of their columns).
struct LayerScores {
  std::vector<std::string> columns;         // as in the file
  std::vector<double> original;             // [columns]
  std::vector<std::vector<double>> layers;  // [L][columns]

  /// Mean of the recall columns (fda/contains, ruler_qa_squad/*, swde/contains,
  /// squad_completion/contains, recall/*).
  double recall(const std::vector<double>& row) const;
  /// Mean of the reasoning columns (*/acc_norm of arc_easy, arc_challenge, hellaswag;
  /// next_token/accuracy).
  double reasoning(const std::vector<double>& row) const;
};

/// Reads scores.csv (replaced_layer, columns...; rows "original", 0, 1, ...). Throws Error naming
/// file and line.
LayerScores read_scores(const std::filesystem::path& path);

/// Writes scores.csv in the same form, temporary-then-rename.
void write_scores(const std::filesystem::path& path, const LayerScores& scores);

enum class SelectionRule { kHalo, kRecallDrop, kUniform };

/// "halo" | "recall-drop" | "uniform"; throws Error naming the choices.
SelectionRule parse_selection_rule(std::string_view name);

/// The importance of every layer: halo min(50, (max R - R_i) / (max C - C_i + 1e-10)), recall-drop
/// R_original - R_i, uniform 1 for the evenly spread layers and 0 for the others.
std::vector<double> layer_importances(const LayerScores& scores, SelectionRule rule, int64_t keep);

/// The `keep` layers of highest importance (0: floor(L / 4)), ascending. Of equal importances the
/// layer whose loss costs more recall comes first, then the lower layer.
std::vector<int64_t> select_layers(const LayerScores& scores, SelectionRule rule, int64_t keep);

}  // namespace hypenet
