// scores.csv in and out, and the rules that turn scores into the layers that stay attention.
#include "halo/select.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/files.h"

namespace hypenet {
namespace {

constexpr double kHighestHaloImportance = 50;

bool is_recall(std::string_view column) {
  return column == "fda/contains" || column == "swde/contains" ||
         column == "squad_completion/contains" || column.starts_with("ruler_qa_squad/") ||
         column.starts_with("recall/");
}

bool is_reasoning(std::string_view column) {
  return column == "arc_easy/acc_norm" || column == "arc_challenge/acc_norm" ||
         column == "hellaswag/acc_norm" || column == "next_token/accuracy";
}

double mean_of(const LayerScores& scores, const std::vector<double>& row,
               bool (*belongs)(std::string_view)) {
  double sum = 0;
  int64_t count = 0;
  for (size_t i = 0; i < scores.columns.size(); ++i) {
    if (!belongs(scores.columns[i])) continue;
    sum += row[i];
    ++count;
  }
  return sum / static_cast<double>(count);
}

std::vector<std::string> split(std::string_view line) {
  std::vector<std::string> cells;
  for (size_t begin = 0;;) {
    const size_t end = std::min(line.find(',', begin), line.size());
    cells.emplace_back(line.substr(begin, end - begin));
    if (end == line.size()) return cells;
    begin = end + 1;
  }
}

/// The lines of a file without their ends (LF or CRLF) and without empty ones at the end of the
/// file.
std::vector<std::string> read_lines(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    begin = end + 1;
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

std::vector<std::string> parse_columns(const std::string& line, const std::string& place) {
  std::vector<std::string> columns = split(line);
  HYPENET_CHECK(columns.front() == "replaced_layer", place,
                ": expected the first column \"replaced_layer\", found \"", columns.front(), "\"");
  columns.erase(columns.begin());
  const std::set<std::string> distinct(columns.begin(), columns.end());
  HYPENET_CHECK(distinct.size() == columns.size(), place, ": a column occurs twice");
  HYPENET_CHECK(std::any_of(columns.begin(), columns.end(), is_recall), place,
                ": expected a recall column (fda/contains, ruler_qa_squad/*, swde/contains, "
                "squad_completion/contains or recall/*), found none");
  HYPENET_CHECK(std::any_of(columns.begin(), columns.end(), is_reasoning), place,
                ": expected a reasoning column (arc_easy/acc_norm, arc_challenge/acc_norm, "
                "hellaswag/acc_norm or next_token/accuracy), found none");
  return columns;
}

double parse_score(const std::string& text, const std::string& place, const std::string& column) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  HYPENET_CHECK(error == std::errc() && stop == end && std::isfinite(value), place, ": ", column,
                ": expected a number, found \"", text, "\"");
  return value;
}

std::vector<double> parse_row(const std::string& line, const std::string& place,
                              const std::string& name, const std::vector<std::string>& columns) {
  const std::vector<std::string> cells = split(line);
  HYPENET_CHECK(cells.front() == name, place, ": expected the row of ",
                name == "original" ? "\"original\"" : "layer " + name, ", found \"", cells.front(),
                "\"");
  HYPENET_CHECK(cells.size() == columns.size() + 1, place, ": expected ", columns.size() + 1,
                " columns, found ", cells.size());
  std::vector<double> row;
  for (size_t i = 0; i < columns.size(); ++i) {
    row.push_back(parse_score(cells[i + 1], place, columns[i]));
  }
  return row;
}

int64_t resolve_keep(const LayerScores& scores, int64_t keep) {
  const auto layers = static_cast<int64_t>(scores.layers.size());
  HYPENET_CHECK(keep >= 0 && keep <= layers, "keep: expected 0 (a quarter of the layers) to ",
                layers, ", found ", keep);
  return keep == 0 ? layers / 4 : keep;
}

std::vector<double> halo_importances(const LayerScores& scores) {
  std::vector<double> recall, reasoning;
  for (const auto& row : scores.layers) {
    recall.push_back(scores.recall(row));
    reasoning.push_back(scores.reasoning(row));
  }
  const double best_recall = *std::max_element(recall.begin(), recall.end());
  const double best_reasoning = *std::max_element(reasoning.begin(), reasoning.end());
  std::vector<double> importances;
  for (size_t i = 0; i < recall.size(); ++i) {
    importances.push_back(
        std::min(kHighestHaloImportance,
                 (best_recall - recall[i]) / (best_reasoning - reasoning[i] + 1e-10)));
  }
  return importances;
}

/// One layer at the end of each of `keep` equal stretches: 3, 7, 11 ... when every fourth is kept.
std::vector<double> uniform_importances(int64_t layers, int64_t keep) {
  std::vector<double> importances(static_cast<size_t>(layers), 0.0);
  for (int64_t i = 1; i <= keep; ++i) importances[static_cast<size_t>(i * layers / keep - 1)] = 1;
  return importances;
}

void append_row(std::string& text, const std::string& name, const std::vector<double>& row) {
  text += name;
  for (const double value : row) {
    char digits[32];  // the shortest form that reads back as the same double
    text += ',';
    text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  }
  text += '\n';
}

}  // namespace

double LayerScores::recall(const std::vector<double>& row) const {
  return mean_of(*this, row, is_recall);
}

double LayerScores::reasoning(const std::vector<double>& row) const {
  return mean_of(*this, row, is_reasoning);
}

LayerScores read_scores(const std::filesystem::path& path) {
  const std::vector<std::string> lines = read_lines(path);
  const auto place = [&](size_t line) { return concat(path.string(), ":", line + 1); };
  HYPENET_CHECK(!lines.empty(), place(0), ": expected a header line, found an empty file");
  LayerScores scores;
  scores.columns = parse_columns(lines[0], place(0));
  HYPENET_CHECK(lines.size() > 1, place(1), ": expected the row of \"original\", found none");
  scores.original = parse_row(lines[1], place(1), "original", scores.columns);
  for (size_t i = 2; i < lines.size(); ++i) {
    scores.layers.push_back(parse_row(lines[i], place(i), std::to_string(i - 2), scores.columns));
  }
  HYPENET_CHECK(!scores.layers.empty(), place(2), ": expected the row of layer 0, found none");
  return scores;
}

void write_scores(const std::filesystem::path& path, const LayerScores& scores) {
  std::string text = "replaced_layer";
  for (const auto& column : scores.columns) text += "," + column;
  text += '\n';
  append_row(text, "original", scores.original);
  for (size_t i = 0; i < scores.layers.size(); ++i) {
    append_row(text, std::to_string(i), scores.layers[i]);
  }
  write_file(path, text);
}

SelectionRule parse_selection_rule(std::string_view name) {
  if (name == "halo") return SelectionRule::kHalo;
  if (name == "recall-drop") return SelectionRule::kRecallDrop;
  if (name == "uniform") return SelectionRule::kUniform;
  throw Error(
      concat("selection rule: expected halo, recall-drop or uniform, found \"", name, "\""));
}

std::vector<double> layer_importances(const LayerScores& scores, SelectionRule rule, int64_t keep) {
  switch (rule) {
    case SelectionRule::kHalo:
      return halo_importances(scores);
    case SelectionRule::kRecallDrop: {
      std::vector<double> importances;
      for (const auto& row : scores.layers) {
        importances.push_back(scores.recall(scores.original) - scores.recall(row));
      }
      return importances;
    }
    case SelectionRule::kUniform:
      return uniform_importances(static_cast<int64_t>(scores.layers.size()),
                                 resolve_keep(scores, keep));
  }
  throw Error("selection rule: not one of the three");
}

std::vector<int64_t> select_layers(const LayerScores& scores, SelectionRule rule, int64_t keep) {
  const int64_t count = resolve_keep(scores, keep);
  const std::vector<double> importances = layer_importances(scores, rule, keep);
  std::vector<int64_t> order(importances.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  // Layers at the rule's cap of 50 are told apart by what the rule is after, the recall they carry.
  const auto rank = [&](int64_t layer) {
    const auto i = static_cast<size_t>(layer);
    const bool has_recall = rule != SelectionRule::kUniform;
    return std::pair(importances[i], has_recall ? -scores.recall(scores.layers[i]) : 0.0);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return rank(a) > rank(b); });
  order.resize(static_cast<size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace hypenet
