// scores.csv and pilots.csv, in and out.
#include "halo/scores.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/files.h"

namespace hypenet {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPilotHeader = "rules,layers,recall,recall_error,kl";

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The task and the measure of "arc_easy/acc_norm", "ruler_qa_squad/4096/ll".
struct Column {
  explicit Column(std::string_view name) {
    is_likelihood = name.ends_with("/ll");
    if (is_likelihood) name.remove_suffix(3);
    const size_t slash = std::min(name.find('/'), name.size());
    task = name.substr(0, slash);
    measure = slash < name.size() ? name.substr(slash + 1) : std::string_view();
  }
  std::string_view task, measure;
  bool is_likelihood = false;
};

bool is_recall_task(std::string_view task) {
  return is_one_of(task, {"fda", "swde", "squad_completion", "ruler_qa_squad", "recall"});
}

bool is_reasoning_task(std::string_view task) {
  return is_one_of(task, {"arc_easy", "arc_challenge", "hellaswag", "next_token"});
}

/// Held-out text, which stands in for the published tasks where none was run.
bool is_stand_in(std::string_view task) { return is_one_of(task, {"recall", "next_token"}); }

std::vector<std::string> split(std::string_view line, char separator) {
  std::vector<std::string> cells;
  for (size_t begin = 0;;) {
    const size_t end = std::min(line.find(separator, begin), line.size());
    cells.emplace_back(line.substr(begin, end - begin));
    if (end == line.size()) return cells;
    begin = end + 1;
  }
}

/// The lines of a file without their ends (LF or CRLF) and without empty ones at the end of the
/// file.
std::vector<std::string> read_lines(const fs::path& path) {
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
  std::vector<std::string> columns = split(line, ',');
  HYPENET_CHECK(columns.front() == "replaced_layer", place,
                ": expected the first column \"replaced_layer\", found \"", columns.front(), "\"");
  columns.erase(columns.begin());
  HYPENET_CHECK(!columns.empty(), place, ": expected a column of scores, found none");
  const std::set<std::string> distinct(columns.begin(), columns.end());
  HYPENET_CHECK(distinct.size() == columns.size(), place, ": a column occurs twice");
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
  const std::vector<std::string> cells = split(line, ',');
  HYPENET_CHECK(cells.front() == name, place, ": expected the row of ",
                name == "original" ? "\"original\"" : "layer " + name, ", found \"", cells.front(),
                "\"");
  HYPENET_CHECK(cells.size() == columns.size() + 1, place, ": expected ", columns.size() + 1,
                " columns, found ", cells.size());
  std::vector<double> row;
  row.reserve(columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    row.push_back(parse_score(cells[i + 1], place, columns[i]));
  }
  return row;
}

PilotResult parse_pilot(const std::string& line, const std::string& place) {
  const std::vector<std::string> cells = split(line, ',');
  HYPENET_CHECK(cells.size() == 5, place, ": expected 5 columns, found ", cells.size());
  PilotResult pilot{.rules = cells[0], .layers = {}};
  for (const std::string& layer : split(cells[1], ' ')) {
    const double value = parse_score(layer, place, "layers");
    HYPENET_CHECK(value >= 0 && value == std::floor(value) && value < 1e6, place,
                  ": layers: expected numbers of layers, found \"", cells[1], "\"");
    pilot.layers.push_back(static_cast<int64_t>(value));
  }
  pilot.recall = parse_score(cells[2], place, "recall");
  pilot.recall_error = parse_score(cells[3], place, "recall_error");
  pilot.kl = parse_score(cells[4], place, "kl");
  return pilot;
}

std::string number(double value) {
  char digits[32];  // the shortest form that reads back as the same double
  return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

void append_row(std::string& text, const std::string& name, const std::vector<double>& row) {
  text += name;
  for (const double value : row) text += concat(",", number(value));
  text += '\n';
}

}  // namespace

std::string_view describe(Evidence evidence) {
  switch (evidence) {
    case Evidence::kRecall:
      return "a recall column (fda/contains, ruler_qa_squad/*, swde/contains, "
             "squad_completion/contains or recall/*)";
    case Evidence::kReasoning:
      return "a reasoning column (arc_easy/acc_norm, arc_challenge/acc_norm, "
             "hellaswag/acc_norm or next_token/accuracy)";
    case Evidence::kRecallLikelihood:
      return "a recall task's column */ll (a sweep with likelihoods)";
    case Evidence::kReasoningLikelihood:
      return "a reasoning task's column */ll (a sweep with likelihoods)";
    case Evidence::kDivergence:
      return "the column text/kl (task text)";
    case Evidence::kLaziness:
      return "the column lazy/mass (task lazy)";
    case Evidence::kPilots:
      return "pilots.csv beside it (select.rule pilot of a conversion)";
  }
  throw Error("evidence: not one of its kinds");
}

bool is_column_of(Evidence evidence, std::string_view column) {
  const Column name(column);
  switch (evidence) {
    case Evidence::kRecall:
      if (name.is_likelihood || !is_recall_task(name.task)) return false;
      return name.task == "recall" || name.task == "ruler_qa_squad" || name.measure == "contains";
    case Evidence::kReasoning:
      if (name.is_likelihood || !is_reasoning_task(name.task)) return false;
      return name.measure == (name.task == "next_token" ? "accuracy" : "acc_norm");
    case Evidence::kRecallLikelihood:
      return name.is_likelihood && is_recall_task(name.task);
    case Evidence::kReasoningLikelihood:
      return name.is_likelihood && is_reasoning_task(name.task);
    case Evidence::kDivergence:
      return column == "text/kl";
    case Evidence::kLaziness:
      return column == "lazy/mass";
    case Evidence::kPilots:
      return false;
  }
  throw Error("evidence: not one of its kinds");
}

bool LayerScores::has(Evidence evidence) const {
  if (evidence == Evidence::kPilots) return !pilots.empty();
  return std::any_of(columns.begin(), columns.end(),
                     [&](const std::string& column) { return is_column_of(evidence, column); });
}

double LayerScores::mean(const std::vector<double>& row, Evidence evidence) const {
  double published = 0, own = 0;  // sums
  int64_t publisheds = 0, owns = 0;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!is_column_of(evidence, columns[i])) continue;
    const bool is_own = is_stand_in(Column(columns[i]).task);
    (is_own ? own : published) += row[i];
    ++(is_own ? owns : publisheds);
  }
  return publisheds > 0 ? published / static_cast<double>(publisheds)
                        : own / static_cast<double>(owns);
}

LayerScores read_scores(const fs::path& path) {
  const std::vector<std::string> lines = read_lines(path);
  const auto place = [&](size_t line) { return concat(path.string(), ":", line + 1); };
  HYPENET_CHECK(!lines.empty(), place(0), ": expected a header line, found an empty file");
  LayerScores scores;
  scores.columns = parse_columns(lines[0], place(0));
  HYPENET_CHECK(lines.size() > 1, place(1), ": expected the row of \"original\", found none");
  scores.original = parse_row(lines[1], place(1), "original", scores.columns);
  scores.layers.reserve(lines.size() - 2);
  for (size_t i = 2; i < lines.size(); ++i) {
    scores.layers.push_back(parse_row(lines[i], place(i), std::to_string(i - 2), scores.columns));
  }
  HYPENET_CHECK(!scores.layers.empty(), place(2), ": expected the row of layer 0, found none");
  const fs::path pilots = fs::path(path).replace_filename("pilots.csv");
  if (fs::exists(pilots)) scores.pilots = read_pilots(pilots);
  return scores;
}

void write_scores(const fs::path& path, const LayerScores& scores) {
  std::string text = "replaced_layer";
  for (const auto& column : scores.columns) text += "," + column;
  text += '\n';
  append_row(text, "original", scores.original);
  for (size_t i = 0; i < scores.layers.size(); ++i) {
    append_row(text, std::to_string(i), scores.layers[i]);
  }
  write_file(path, text);
}

std::vector<PilotResult> read_pilots(const fs::path& path) {
  const std::vector<std::string> lines = read_lines(path);
  HYPENET_CHECK(!lines.empty() && lines[0] == kPilotHeader, path.string(),
                ":1: expected the header ", kPilotHeader, ", found \"",
                lines.empty() ? "" : lines[0], "\"");
  std::vector<PilotResult> pilots;
  pilots.reserve(lines.size() - 1);
  for (size_t i = 1; i < lines.size(); ++i) {
    pilots.push_back(parse_pilot(lines[i], concat(path.string(), ":", i + 1)));
  }
  return pilots;
}

void write_pilots(const fs::path& path, const std::vector<PilotResult>& pilots) {
  std::string text = std::string(kPilotHeader) + '\n';
  for (const PilotResult& pilot : pilots) {
    text += pilot.rules + ",";
    for (size_t i = 0; i < pilot.layers.size(); ++i) {
      text += concat(i > 0 ? " " : "", pilot.layers[i]);
    }
    append_row(text, "", {pilot.recall, pilot.recall_error, pilot.kl});
  }
  write_file(path, text);
}

}  // namespace hypenet
