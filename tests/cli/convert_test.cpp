// The conversion as a user runs it: the real program, killed at random moments, must end with the
// same weights.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "base/json.h"
#include "base/random.h"
#include "halo/scores.h"
#include "store/checkpoint.h"
#include "tests/support/program.h"
#include "tests/support/short_conversion.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/wait_until.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing_support::ProgramResult;
using testing_support::run_program;
using testing_support::RunningProgram;
using testing_support::seed_of_this_run;
using testing_support::short_conversion;
using testing_support::wait_until;
using testing_support::write_text;

class Convert : public testing::Test {
 protected:
  void SetUp() override { write_text(folder_ / "text.txt"); }
  std::vector<std::string> command(const std::string& out) const {
    return short_conversion(folder_ / out, (folder_ / "text.txt").string());
  }
  std::string weights(const std::string& out) const {
    return read_file(folder_ / (out + "/model/model.safetensors"));
  }
  /// Those of a run that nothing interrupts, made once.
  const std::string& whole_weights() const {
    static const std::string kWeights = [&] {
      const ProgramResult result = run_program(command("whole"));
      HYPENET_CHECK(result.code == 0, result.error);
      return weights("whole");
    }();
    return kWeights;
  }
  TemporaryFolder folder_;
};

TEST_F(Convert, makes_a_hypenet_a_table_and_a_report) {
  const ProgramResult result = run_program(command("out"));
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_NE(result.out.find("held-out perplexity"), std::string::npos);
  EXPECT_NE(result.out.find("recall at 512 tokens"), std::string::npos);
  for (const std::string name :
       {"1-transfer", "2-align", "4-hybrid", "5-distill", "6-finetune", "model"}) {
    EXPECT_TRUE(fs::exists(folder_ / ("out/" + name + "/run.json"))) << name;
    EXPECT_TRUE(fs::exists(folder_ / ("out/" + name + "/tokenizer.json"))) << name;
    EXPECT_TRUE(fs::exists(folder_ / ("out/" + name + "/generation_config.json"))) << name;
  }
  const Checkpoint model(folder_ / "out/model");
  EXPECT_EQ(model.config()["model_type"], "hypenet");
  EXPECT_EQ(model.config()["attn_logits_scaling"], "hype 100");
  const Json chosen = read_json(folder_ / "out/3-select/selection.json")["layers"];
  for (size_t layer = 0; layer < 8; ++layer) {
    const bool is_chosen = std::find(chosen.begin(), chosen.end(), Json(layer)) != chosen.end();
    EXPECT_EQ(model.config()["mixer_types"][layer], is_chosen ? "attn" : "lightning-attn") << layer;
  }
  const std::string report = read_file(folder_ / "out/report.html");
  EXPECT_NE(report.find("<svg"), std::string::npos);
  EXPECT_NE(report.find("Recall over context length"), std::string::npos);

  const auto before = fs::last_write_time(folder_ / "out/model");
  const ProgramResult again = run_program(command("out"));
  EXPECT_EQ(again.code, 0) << again.error;
  EXPECT_EQ(again.out, result.out) << "a finished conversion shows its table again";
  EXPECT_EQ(fs::last_write_time(folder_ / "out/model"), before) << "and does nothing anew";

  auto other = command("out");
  other.insert(other.end(), {"--set", "align.optimizer.peak_lr=0.5"});
  const ProgramResult refused = run_program(other);
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.error.find("align.optimizer.peak_lr: expected 0.5, found 0.003"),
            std::string::npos)
      << refused.error;
}

TEST_F(Convert, its_twins_can_be_swept_and_selected_by_hand) {
  auto arguments = command("out");
  arguments.insert(arguments.end(), {"--set", "select.layers=[1,6]"});
  ASSERT_EQ(run_program(arguments).code, 0);
  EXPECT_EQ(read_json(folder_ / "out/3-select/selection.json")["layers"], Json({1, 6}));
  const std::string scores = (folder_ / "scores.csv").string();
  const ProgramResult sweep =
      run_program({"sweep", HYPENET_SOURCE "/models/tiny-teacher", "--aligned",
                   (folder_ / "out/2-align").string(), "--data", (folder_ / "text.txt").string(),
                   "--scores", scores, "--context", "128", "--needles", "2", "--prompts", "4",
                   "--windows", "4", "--threads", "1"});
  ASSERT_EQ(sweep.code, 0) << sweep.error;
  const ProgramResult select = run_program({"select", "--scores", scores, "--keep", "3"});
  ASSERT_EQ(select.code, 0) << select.error;
  EXPECT_EQ(parse_json(select.out, "select").size(), 3U);
  const ProgramResult refused =
      run_program({"sweep", HYPENET_SOURCE "/models/tiny-teacher", "--aligned",
                   (folder_ / "out/model").string(), "--data", (folder_ / "text.txt").string(),
                   "--scores", scores});
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.error.find("every layer is recurrent"), std::string::npos) << refused.error;
}

TEST_F(Convert, gives_each_layer_the_mixer_that_the_recipe_names) {
  const std::vector<std::string> mixers = {"gdn", "kda", "lightning-attn", "gdn",
                                           "kda", "gdn", "lightning-attn", "kda"};
  auto arguments = command("out");
  arguments.insert(arguments.end(),
                   {"--set", concat("mixers=", Json(mixers).dump()), "--until", "align"});
  ASSERT_EQ(run_program(arguments).code, 0);
  EXPECT_EQ(Checkpoint(folder_ / "out/2-align").config()["mixer_types"], Json(mixers));
  const ProgramResult result =
      run_program({"convert", "--resume", (folder_ / "out").string(), "--threads", "1"});
  ASSERT_EQ(result.code, 0) << result.error;
  Json expected = mixers;
  const Json chosen = read_json(folder_ / "out/3-select/selection.json")["layers"];
  for (const Json& layer : chosen) expected[layer.get<size_t>()] = "attn";
  for (const char* folder : {"4-hybrid", "5-distill", "6-finetune", "model"})
    EXPECT_EQ(Checkpoint(folder_ / "out" / folder).config()["mixer_types"], expected) << folder;
  EXPECT_EQ(read_json(folder_ / "out/results.json")["mixer_types"], expected);
  EXPECT_NE(read_file(folder_ / "out/report.html").find(", gdn in layers ["), std::string::npos);
  const ProgramResult inspected = run_program({"inspect", (folder_ / "out/model").string()});
  for (const char* text : {" kda, ", " gdn mixers", " kda mixers", " lightning-attn mixers"})
    EXPECT_NE(inspected.out.find(text), std::string::npos) << inspected.out;

  const std::string teacher = HYPENET_SOURCE "/models/tiny-teacher";
  const std::string scores = (folder_ / "scores.csv").string();
  const ProgramResult sweep =
      run_program({"sweep", teacher, "--aligned", (folder_ / "out/2-align").string(), "--data",
                   (folder_ / "text.txt").string(), "--scores", scores, "--context", "128",
                   "--needles", "2", "--prompts", "4", "--windows", "4", "--threads", "1"});
  ASSERT_EQ(sweep.code, 0) << sweep.error;
  EXPECT_EQ(run_program({"select", "--scores", scores, "--keep", "3"}).code, 0);
}

TEST_F(Convert, chooses_layers_by_pilots_when_the_recipe_says_so) {
  auto arguments = command("out");
  for (const std::string setting :
       {"select.rule=pilot", "select.pilot.steps=2", "select.pilot.candidates=2"}) {
    arguments.insert(arguments.end(), {"--set", setting});
  }
  const ProgramResult result = run_program(arguments);
  ASSERT_EQ(result.code, 0) << result.error;
  const LayerScores scores = read_scores(folder_ / "out/3-select/scores.csv");
  ASSERT_EQ(scores.pilots.size(), 2U);
  EXPECT_EQ(read_json(folder_ / "out/3-select/selection.json")["layers"],
            Json(scores.pilots.front().layers));
  EXPECT_TRUE(scores.has(Evidence::kDivergence) && scores.has(Evidence::kLaziness));
  EXPECT_NE(read_file(folder_ / "out/report.html").find("KL to the teacher"), std::string::npos);
}

TEST_F(Convert, killed_at_random_moments_ends_with_the_weights_of_an_uninterrupted_run) {
  const uint64_t seed = seed_of_this_run();
  SCOPED_TRACE(concat("HYPENET_TEST_SEED=", seed, " draws these moments again"));
  Random random(seed);
  int kills = 0;
  for (int attempt = 0; attempt < 40 && !fs::exists(folder_ / "killed/model"); ++attempt) {
    RunningProgram program(command("killed"));
    // Start-up takes about half a second: later kills meet every stage, growing ones ensure that
    // the end is reached.
    std::this_thread::sleep_for(std::chrono::milliseconds(400 + random.below(1200) + 50 * attempt));
    ::kill(program.process(), SIGKILL);
    const ProgramResult result = program.wait();
    ASSERT_TRUE(result.code == 0 || result.code == 128 + SIGKILL) << result.error;
    kills += result.code == 0 ? 0 : 1;
  }
  EXPECT_GE(kills, 1);
  const ProgramResult last = run_program(command("killed"));
  ASSERT_EQ(last.code, 0) << last.error;
  EXPECT_TRUE(weights("killed") == whole_weights()) << "after " << kills << " kills";
}

TEST_F(Convert, two_at_once_do_not_share_a_folder) {
  RunningProgram program(command("shared"));
  ASSERT_TRUE(wait_until([&] { return fs::exists(folder_ / "shared/1-transfer"); }));
  const ProgramResult second = run_program(command("shared"));
  EXPECT_EQ(second.code, 1);
  EXPECT_NE(second.error.find("shared: expected no other run at work there, found one"),
            std::string::npos)
      << second.error;
  const ProgramResult first = program.wait();
  EXPECT_EQ(first.code, 0) << first.error;
}

TEST_F(Convert, interrupted_by_ctrl_c_saves_and_goes_on) {
  RunningProgram program(command("stopped"));
  // Stage 1 comes next.
  ASSERT_TRUE(wait_until([&] { return fs::exists(folder_ / "stopped/1-transfer"); }));
  ::kill(program.process(), SIGINT);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.code, 130);
  EXPECT_NE(result.error.find("interrupted; the same command goes on"), std::string::npos)
      << result.error;
  EXPECT_FALSE(fs::exists(folder_ / "stopped/2-align"));
  ASSERT_EQ(run_program(command("stopped")).code, 0);
  EXPECT_TRUE(weights("stopped") == whole_weights());
}

TEST_F(Convert, step_by_step_with_layers_of_ones_own_choice_and_from_another_folder) {
  auto first = command("out");
  first.insert(first.end(), {"--until", "align"});
  const ProgramResult aligned = run_program(first);
  ASSERT_EQ(aligned.code, 0) << aligned.error;
  const std::string out = (folder_ / "out").string();
  EXPECT_NE(aligned.out.find("hypenet convert --resume " + out), std::string::npos) << aligned.out;
  EXPECT_FALSE(fs::exists(folder_ / "out/3-select"));

  const auto resume = [&](const std::string& more) {
    return RunningProgram({"-c", concat("cd / && " HYPENET_BINARY " convert --threads 1 --resume ",
                                        out, " ", more)},
                          "/bin/sh")
        .wait();
  };
  const ProgramResult chosen = resume("--set 'select.layers=[1,6]' --set distill.save_every=100");
  ASSERT_EQ(chosen.code, 0) << chosen.error;
  EXPECT_EQ(read_json(folder_ / "out/3-select/selection.json")["layers"], Json({1, 6}));
  EXPECT_EQ(resume("").code, 0) << "the choice is kept";

  const ProgramResult refused = resume("--set 'select.layers=[2,5]'");
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.error.find("--from select"), std::string::npos) << refused.error;
  const ProgramResult again = resume("--from select --set 'select.layers=[2,5]'");
  ASSERT_EQ(again.code, 0) << again.error;
  EXPECT_NE(again.error.find("removing 3-select, 4-hybrid, 5-distill, 6-finetune, model"),
            std::string::npos)
      << again.error;

  auto whole = command("whole");
  whole.insert(whole.end(), {"--set", "select.layers=[2,5]"});
  ASSERT_EQ(run_program(whole).code, 0);
  EXPECT_TRUE(weights("out") == weights("whole"));
}

TEST_F(Convert, a_folder_without_a_run_is_not_resumed) {
  const auto expect_refused = [](const std::vector<std::string>& arguments,
                                 const std::string& text) {
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.error.find(text), std::string::npos) << result.error;
    EXPECT_EQ(std::count(result.error.begin(), result.error.end(), '\n'), 1) << result.error;
  };
  expect_refused({"convert", "--resume", folder_.path().string()}, "found no recipe.json in it");
  expect_refused({"convert", "--resume", "x", "--recipe", "y"}, "--resume");
  expect_refused({"convert", "--resume", "x", "--out", "y"}, "--resume");
  expect_refused({"convert"}, "expected a recipe file, or --resume");
  auto unknown = command("out");
  unknown.insert(unknown.end(), {"--until", "alignment"});
  expect_refused(unknown, "--until: step: expected transfer, align");
}

TEST_F(Convert, bad_input_is_one_line_and_exit_code_1) {
  const auto expect_refused = [&](const std::vector<std::string>& more, const std::string& text) {
    auto arguments = command("bad");
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.code, 1) << text;
    EXPECT_NE(result.error.find(text), std::string::npos) << result.error;
    EXPECT_EQ(std::count(result.error.begin(), result.error.end(), '\n'), 1) << result.error;
    EXPECT_FALSE(fs::exists(folder_ / "bad/1-transfer"));
    fs::remove_all(folder_ / "bad");
  };
  expect_refused({"--set", "align.stepz=3"}, "unknown key \"stepz\"");
  expect_refused({"--teacher", (folder_ / "none").string()},
                 "none: expected a model folder, found nothing");
  expect_refused({"--device", "tpu"}, "tpu");

  const fs::path teacher = folder_ / "teacher";
  fs::copy(HYPENET_SOURCE "/models/tiny-teacher", teacher, fs::copy_options::recursive);
  Json config = read_json(teacher / "config.json");
  const auto with = [&](const char* key, const Json& value) {
    Json changed = config;
    changed[key] = value;
    write_json(teacher / "config.json", changed);
  };
  const std::vector<std::string> own = {"--teacher", teacher.string()};
  with("architectures", {"GPT2LMHeadModel"});
  expect_refused(own, "GPT2LMHeadModel");
  with("num_key_value_heads", 3);
  expect_refused(own, "num_key_value_heads");
  with("vocab_size", 100);
  expect_refused(own, "a tokenizer with 4096 ids");
  write_file(folder_ / "text.txt", "");
  expect_refused({}, "expected documents with text, found none");
}

}  // namespace
}  // namespace hypenet
