// scores.csv: what a sweep found out about every layer, a column a measure.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// What columns can say about a layer. kPilots are no columns: pilots.csv (halo/pilots.h).
enum class Evidence {
  kRecall,               // fda/contains, swde/contains, squad_completion/contains,
                         // ruler_qa_squad/*, recall/*
  kReasoning,            // */acc_norm of arc_easy, arc_challenge, hellaswag; next_token/accuracy
  kRecallLikelihood,     // */ll of the recall tasks: nats of the right answer
  kReasoningLikelihood,  // */ll of the reasoning tasks
  kDivergence,           // text/kl: KL(teacher || variant), nats a token
  kLaziness,             // lazy/mass: the layer's attention on first and recent tokens
  kPilots
};

/// The columns of a kind, in words, for errors and help.
std::string_view describe(Evidence evidence);

/// Whether a column is of that kind.
bool is_column_of(Evidence evidence, std::string_view column);

/// Of a pilot (halo/pilots.h): a set of attention layers, trained for a while, and what it reached.
struct PilotResult {
  std::string rules;            // whose pick it is: "halo", "kl+lazy"
  std::vector<int64_t> layers;  // ascending
  double recall = 0, recall_error = 0, kl = 0;
};

/// One sweep: a row for the unchanged teacher and one for each replaced layer.
struct LayerScores {
  std::vector<std::string> columns;         // as in the file
  std::vector<double> original;             // [columns]
  std::vector<std::vector<double>> layers;  // [L][columns]
  std::vector<PilotResult> pilots = {};     // empty where none ran

  bool has(Evidence evidence) const;

  /// Mean of the row's columns of that kind, of which there has to be one; recall/* and
  /// next_token/* count only where no other task has one.
  double mean(const std::vector<double>& row, Evidence evidence) const;
  double recall(const std::vector<double>& row) const { return mean(row, Evidence::kRecall); }
  double reasoning(const std::vector<double>& row) const { return mean(row, Evidence::kReasoning); }
};

/// Reads scores.csv (replaced_layer, columns...; rows "original", 0, 1, ...), and pilots.csv where
/// it lies beside it. Throws Error naming file and line.
LayerScores read_scores(const std::filesystem::path& path);

/// Writes scores.csv in the same form, temporary-then-rename. Pilots are not in it.
void write_scores(const std::filesystem::path& path, const LayerScores& scores);

/// pilots.csv: rules,layers,recall,recall_error,kl; layers separated by spaces.
std::vector<PilotResult> read_pilots(const std::filesystem::path& path);
void write_pilots(const std::filesystem::path& path, const std::vector<PilotResult>& pilots);

}  // namespace hypenet
