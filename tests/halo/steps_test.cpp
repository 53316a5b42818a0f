// What --from removes: all that the steps from there on made, and nothing that another hand put
// there.
#include "halo/steps.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "run/run_files.h"
#include "store/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

class Steps : public testing::Test {
 protected:
  Steps() {
    for (const char* folder : {"1-transfer", "2-align", "4-hybrid", "model"})
      write_folder(folder, {"run.json", "config.json", "model.safetensors"});
    write_folder("3-select", {"run.json", "selection.json"});
    write_folder("3-pilots/0-1", {"run.json", "result.json"});
    write_folder("3-pilots/0-2.hypenet-partial", {"result.json"});  // killed while it was written
    write_folder("3-pilots/0-3.training",
                 {"metrics.jsonl", "pilot-0-3.state.safetensors", "metrics.jsonl.hypenet-partial"});
    write_safetensors(folder_ / "5-distill.state.safetensors", {{"x", torch::zeros({1})}},
                      {{"settings", "{}"}});
    write_file(folder_ / "3-select.journal", "{\"hypenet_journal\":1}\n");
    write_json(folder_ / "results.json", {{"attention_layers", Json::array()}});
    write_file(folder_ / "report.html", "<!doctype html>\n<p class=\"subtitle\">");
    write_file(folder_ / "metrics.jsonl", "");
  }

  void write_folder(const std::string& name, const std::vector<std::string>& files) const {
    fs::create_directories(folder_ / name);
    for (const std::string& file : files) write_file(folder_ / name / file, "{}");
  }
  bool is_there(const std::string& name) const { return fs::exists(folder_ / name); }

  TemporaryFolder folder_;
};

TEST_F(Steps, a_step_and_those_after_it_are_removed) {
  EXPECT_EQ(made_from(folder_.path(), ConversionStep::kSelect),
            (std::vector<std::string>{"3-select", "3-select.journal", "3-pilots", "4-hybrid",
                                      "5-distill.state.safetensors", "model", "report.html",
                                      "results.json"}));
  remove_from(folder_.path(), ConversionStep::kSelect);
  EXPECT_TRUE(made_from(folder_.path(), ConversionStep::kSelect).empty());
  EXPECT_TRUE(is_there("1-transfer/run.json") && is_there("2-align/run.json"));
  EXPECT_TRUE(is_there("metrics.jsonl"));
}

TEST_F(Steps, a_run_does_not_begin_among_files_of_other_hands) {
  EXPECT_NO_THROW(prepare_out({.out = folder_.path()}));
  for (const char* file :
       {"metrics.jsonl", "results.json", "report.html", "tokens.json", "3-select.journal"}) {
    const bool was_there = is_there(file);
    const std::string ours = was_there ? read_file(folder_ / file) : "";
    write_file(folder_ / file, "[\"mine\"]");
    EXPECT_ERROR(prepare_out({.out = folder_.path()}), std::string(file) + ": expected the ");
    EXPECT_EQ(read_file(folder_ / file), "[\"mine\"]");
    if (was_there) write_file(folder_ / file, ours);
    if (!was_there) fs::remove(folder_ / file);
  }
}

TEST_F(Steps, nothing_is_removed_where_another_hand_wrote) {
  const auto expect_refused = [&](const std::string& text) {
    EXPECT_ERROR(remove_from(folder_.path(), ConversionStep::kAlign), text);
    EXPECT_TRUE(is_there("3-select/run.json") && is_there("model/run.json"));
    EXPECT_TRUE(is_there("results.json") && is_there("5-distill.state.safetensors"));
  };
  write_file(folder_ / "2-align/notes.txt", "mine");
  expect_refused("found one that holds notes.txt");
  fs::remove(folder_ / "2-align/notes.txt");

  fs::remove(folder_ / "4-hybrid/run.json");
  expect_refused("found one without run.json");
  write_file(folder_ / "4-hybrid/run.json", "{}");

  write_file(folder_ / "3-pilots/list.txt", "mine");
  expect_refused("found one that holds list.txt");
  fs::remove(folder_ / "3-pilots/list.txt");
  write_file(folder_ / "3-pilots/0-3.training/list.txt", "mine");
  expect_refused("found one that holds list.txt");
  fs::remove(folder_ / "3-pilots/0-3.training/list.txt");

  const std::string results = read_file(folder_ / "results.json");
  write_file(folder_ / "results.json", "[1]");
  expect_refused("results.json: expected the results of a conversion");
  write_file(folder_ / "results.json", results);

  write_file(folder_ / "3-select.journal", "my diary");
  expect_refused("3-select.journal: expected the journal of a sweep");
}

TEST_F(Steps, names_are_those_of_the_command_line) {
  EXPECT_EQ(parse_step("align"), ConversionStep::kAlign);
  EXPECT_EQ(step_names(), "transfer, align, select, hybrid, distill, finetune, extend or model");
  EXPECT_ERROR(parse_step("alignn"), "expected transfer, align");
}

}  // namespace
}  // namespace hypenet
