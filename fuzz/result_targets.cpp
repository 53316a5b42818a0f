// Targets of what the program itself writes, and reads again after it was cut short or edited.
#include "eval/journal.h"
#include "eval/model_report.h"
#include "fuzz/target.h"
#include "halo/scores.h"
#include "run/corpus_file.h"
#include "tests/support/byte_tokenizer.h"

namespace hypenet::fuzz {
namespace {

const Tokenizer& byte_tokenizer() {
  static const Tokenizer tokenizer = [] {
    testing_support::write_byte_tokenizer(folder());
    return Tokenizer::load(folder());
  }();
  return tokenizer;
}

}  // namespace

/// An evaluation's journal, and a corpus's.
void read_journal(std::string_view input) {
  const auto file = put("journal.jsonl", input);
  attempt([&] { Journal(file, {{"model", "m"}}).find("k"); });
  put("corpus.jsonl.journal", input);
  CorpusFile(folder() / "corpus.jsonl", {{"seed", 1}}, 100, byte_tokenizer());
}

/// scores.csv --- pilots.csv
void read_scores(std::string_view input) {
  const auto part = parts(input, 2);
  const auto pilots = put("pilots.csv", part[1]);
  if (part[1].empty()) std::filesystem::remove(pilots);
  const LayerScores scores = hypenet::read_scores(put("scores.csv", part[0]));
  write_scores(folder() / "written.csv", scores);
}

/// results.json --- of compare --- of bench decode --- metrics.jsonl; then a report of what was
/// read
void read_results(std::string_view input) {
  const auto part = parts(input, 4);
  const auto json = [&](size_t i) { return ResultFile{"results", parse_json(part[i], "results")}; };
  ModelReportData data;
  attempt([&] { data.models = {read_model_results("m", std::vector{json(0)})}; });
  attempt([&] { data.comparisons = {read_comparison("m", json(1))}; });
  attempt([&] { data.speeds = read_decode_speeds(std::vector{json(2)}); });
  attempt([&] { data.curves = read_training("m", "metrics.jsonl", std::string(part[3])); });
  attempt([&] { write_report(folder() / "report.html", model_report("m", data)); });
}

}  // namespace hypenet::fuzz
