// Conversion and training from scratch as a whole, on models of two layers: what a recipe says of
// its texts and of frozen parameters is what happens.
#include "halo/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/files.h"
#include "run/model_identity.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_model.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

ModelConfig byte_teacher_config() {
  ModelConfig config = testing_support::tiny_teacher_config();
  config.vocab_size = testing_support::kByteTokens;
  config.torch_dtype = "float32";
  return config;
}

StageConfig short_stage() {
  StageConfig stage;
  stage.steps = 2, stage.sequences = 2, stage.context = 16;
  return stage;
}

/// Names of the tensors that two folders have alike.
std::set<std::string> equal_tensors(const fs::path& a, const fs::path& b) {
  const Checkpoint left(a), right(b);
  std::set<std::string> equal;
  for (const std::string& name : left.names()) {
    if (torch::equal(left.tensor(name), right.tensor(name))) equal.insert(name);
  }
  return equal;
}

size_t tensors(const fs::path& folder) { return Checkpoint(folder).names().size(); }

class NoteObserver : public Observer {
 public:
  void on_step(const StepReport&) override {}
  void on_note(const std::string& text) override { notes_.push_back(text); }
  void on_progress(const std::string&, int64_t, int64_t) override {}

  int64_t count(const std::string& part) const {
    return std::count_if(notes_.begin(), notes_.end(), [&](const std::string& note) {
      return note.find(part) != std::string::npos;
    });
  }

 private:
  std::vector<std::string> notes_;
};

class Pipeline : public testing::Test {
 protected:
  Pipeline() {
    fs::create_directories(folder_ / "teacher");
    testing_support::write_byte_tokenizer(folder_ / "teacher");
    write_text("short.txt", "Sentence ", " of a short text. ");
    write_text("long.txt", "LINE ", ": NOTHING LIKE THE OTHER ONE\n");
  }

  void write_text(const std::string& name, const char* before, const char* behind) const {
    std::string text;
    for (int i = 0; i < 60; ++i) text += concat(before, i, behind);
    write_file(folder_ / name, text);
  }

  DataConfig data() const {
    return {.train = {(folder_ / "short.txt").string()},
            .validation = {(folder_ / "short.txt").string()},
            .long_train = {}};
  }

  void write_teacher(uint64_t seed) const {
    torch::manual_seed(seed);
    CausalLm teacher(byte_teacher_config());
    write_json(folder_ / "teacher/config.json", to_json(teacher->config()));
    write_safetensors(folder_ / "teacher/model.safetensors",
                      named_weights(*teacher, torch::kFloat32));
  }

  /// A conversion of a random teacher, all of it in a few steps.
  HaloRecipe conversion() const {
    if (!fs::exists(folder_ / "teacher/config.json")) write_teacher(1);
    HaloRecipe recipe;
    recipe.name = "test";
    recipe.teacher = (folder_ / "teacher").string();
    recipe.data = data();
    recipe.align = recipe.distill = recipe.finetune = short_stage();
    recipe.select.layers = {0};
    recipe.evaluate.context = 16, recipe.evaluate.windows = 2;
    return recipe;
  }

  void convert_into(const std::string& out, const HaloRecipe& recipe,
                    const ConversionPlan& plan = {}) const {
    convert(recipe, {.out = folder_ / out}, plan);
  }
  std::string weights(const std::string& folder) const {
    return read_file(folder_ / folder / "model.safetensors");
  }

  PretrainRecipe pretraining() const {
    PretrainRecipe recipe;
    recipe.name = "test";
    recipe.tokenizer = (folder_ / "teacher").string();
    recipe.model = to_json(byte_teacher_config());
    recipe.data = data();
    recipe.phases = {{"a", short_stage()}, {"b", short_stage()}};
    recipe.evaluate.context = 16, recipe.evaluate.windows = 2;
    return recipe;
  }

  TemporaryFolder folder_;
};

TEST_F(Pipeline, stage_3_alone_reads_the_text_of_its_own) {
  HaloRecipe recipe = conversion();
  convert_into("one", recipe);
  recipe.data.long_train = {(folder_ / "long.txt").string()};
  convert_into("two", recipe);
  const fs::path distilled = folder_ / "one/5-distill", tuned = folder_ / "one/6-finetune";
  EXPECT_EQ(equal_tensors(distilled, folder_ / "two/5-distill").size(), tensors(distilled));
  EXPECT_LT(equal_tensors(tuned, folder_ / "two/6-finetune").size(), tensors(tuned));
  EXPECT_FALSE(fs::exists(folder_ / "one/tokens-long"));
  EXPECT_EQ(TokenDataset(folder_ / "two/tokens-long").tokens(),
            static_cast<int64_t>(read_file(folder_ / "long.txt").size()) + 1)
      << "and an end of text";
}

TEST_F(Pipeline, a_recipe_names_the_recurrent_layers) {
  for (const char* mixer : {"gdn", "kda"}) {
    HaloRecipe recipe = conversion();
    recipe.mixer = mixer;
    convert_into(mixer, recipe);
    const Checkpoint model(folder_ / mixer / "model");
    EXPECT_EQ(model.config()["mixer_types"], Json({"attn", mixer}));
    const std::string rates = mixer_tensor(1, "A_log");
    EXPECT_EQ(model.tensor(rates).scalar_type(), torch::kFloat32);
    EXPECT_EQ(model.tensor(mixer_tensor(1, "q_proj.weight")).scalar_type(), torch::kBFloat16);
    EXPECT_FALSE(
        torch::equal(model.tensor(rates), Checkpoint(folder_ / mixer / "1-transfer").tensor(rates)))
        << "trained";
    EXPECT_EQ(load_model(model)->config().mixer_types.back()->name, mixer);
  }
}

TEST_F(Pipeline, a_list_of_equal_mixers_is_that_mixer_and_another_list_another_run) {
  HaloRecipe recipe = conversion();
  recipe.mixer = "gdn";
  const ConversionPlan plan{.until = ConversionStep::kTransfer};
  convert_into("out", recipe, plan);
  recipe.mixer.reset(), recipe.mixers = {"gdn", "gdn"};
  EXPECT_NO_THROW(convert_into("out", recipe, plan));
  recipe.mixers = {"gdn", "kda"};
  EXPECT_ERROR(convert_into("out", recipe, plan), "mixer");
  convert_into("out", recipe, {.from = ConversionStep::kTransfer, .until = plan.until});
  EXPECT_EQ(Checkpoint(folder_ / "out/1-transfer").config()["mixer_types"], Json({"gdn", "kda"}));
  recipe.mixers = {"kda", "gdn"};
  EXPECT_ERROR(convert_into("out", recipe, plan), "mixers");
}

TEST_F(Pipeline, a_head_that_config_json_ties_in_vain_is_converted) {
  const HaloRecipe recipe = conversion();
  const fs::path teacher = folder_ / "teacher/model.safetensors";
  const SafetensorsFile weights(teacher);
  NamedTensors tensors;
  for (const std::string& name : weights.names()) tensors.emplace_back(name, weights.tensor(name));
  tensors.emplace_back("lm_head.weight", torch::randn({testing_support::kByteTokens, 32}));
  write_safetensors(teacher, tensors);
  NoteObserver observer;
  convert(recipe, {.out = folder_ / "out", .observer = &observer});
  EXPECT_EQ(observer.count("tie_word_embeddings is true, but lm_head.weight differs"), 1);
  const Tensor transferred = Checkpoint(folder_ / "out/1-transfer").tensor("lm_head.weight");
  EXPECT_TRUE(torch::equal(transferred, tensors.back().second));
  for (const char* stage : {"1-transfer", "2-align", "4-hybrid", "6-finetune", "model"}) {
    const Checkpoint checkpoint(folder_ / "out" / stage);
    EXPECT_TRUE(checkpoint.contains("lm_head.weight")) << stage;
    EXPECT_EQ(checkpoint.config()["tie_word_embeddings"], false) << stage;
  }
}

TEST_F(Pipeline, a_teacher_of_other_tensors_than_its_config_is_refused_before_anything_is_made) {
  const HaloRecipe recipe = conversion();
  const fs::path teacher = folder_ / "teacher/model.safetensors";
  const SafetensorsFile weights(teacher);
  NamedTensors tensors;
  for (const std::string& name : weights.names()) tensors.emplace_back(name, weights.tensor(name));
  tensors.emplace_back("model.layers.0.self_attn.sinks", torch::ones({4}));
  write_safetensors(teacher, tensors);
  EXPECT_ERROR(convert_into("out", recipe), "teacher: tensor model.layers.0.self_attn.sinks: ");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(Pipeline, a_tokenizer_that_ends_no_documents_is_refused_before_anything_is_made) {
  EXPECT_TRUE(fs::remove(folder_ / "teacher/tokenizer_config.json"));
  EXPECT_ERROR(convert_into("out", conversion()), "tokenizer_config.json names eos_token");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(Pipeline, text_tokenized_before_newer_keys_is_used_again) {
  PretrainRecipe recipe = pretraining();
  pretrain(recipe, {.out = folder_ / "out"});
  Json settings = read_json(folder_ / "out/tokens.json");
  EXPECT_EQ(settings.erase("on_bad_document"), 1u);
  write_json(folder_ / "out/tokens.json", settings);
  EXPECT_NO_THROW(pretrain(recipe, {.out = folder_ / "out"}));
  recipe.data.on_bad_document = "fail";
  EXPECT_ERROR(pretrain(recipe, {.out = folder_ / "out"}), "on_bad_document: expected");
}

TEST_F(Pipeline, phases_made_before_newer_keys_are_done_and_the_model_is_measured_once) {
  const PretrainRecipe recipe = pretraining();
  pretrain(recipe, {.out = folder_ / "out"});
  const Json results = read_json(folder_ / "out/results.json");
  EXPECT_GT(results["model"]["perplexity"].get<double>(), 1);
  EXPECT_EQ(results["settings"]["evaluate"], write_fields(recipe.evaluate));
  for (const char* stage : {"1-a", "2-b", "model"}) {
    const fs::path path = folder_ / "out" / stage / "run.json";
    Json run = read_json(path);
    for (const char* phase : {"a", "b"}) {
      if (run["settings"].contains(phase)) run["settings"][phase].erase("frozen");
    }
    write_json(path, run);
  }
  const auto before = fs::last_write_time(folder_ / "out/results.json");
  NoteObserver observer;
  pretrain(recipe, {.out = folder_ / "out", .observer = &observer});
  EXPECT_EQ(observer.count("done before"), 3);
  EXPECT_EQ(fs::last_write_time(folder_ / "out/results.json"), before);
}

TEST_F(Pipeline, bad_documents_of_the_text_are_noted_or_fail) {
  write_file(folder_ / "bad.jsonl", "{\"text\": null}\n");
  PretrainRecipe recipe = pretraining();
  recipe.data.train.push_back((folder_ / "bad.jsonl").string());
  NoteObserver observer;
  pretrain(recipe, {.out = folder_ / "out", .observer = &observer});
  EXPECT_EQ(observer.count("1 of 2 documents left out: 1 for null instead of a string"), 1);
  recipe.data.on_bad_document = "fail";
  EXPECT_ERROR(pretrain(recipe, {.out = folder_ / "other"}),
               "bad.jsonl:1: text: expected a string, found null");
}

TEST_F(Pipeline, what_a_stage_freezes_is_looked_up_before_anything_is_made) {
  HaloRecipe recipe = conversion();
  recipe.finetune.frozen = {"mlp", "selfattn"};
  EXPECT_ERROR(convert_into("out", recipe),
               "test: finetune: frozen: expected part of a parameter's name, found \"selfattn\"");
  recipe.finetune.frozen = {"o_gate", "z_proj"};  // of attention, of recurrent layers
  recipe.align.frozen = {"o_gate"};
  EXPECT_ERROR(convert_into("out", recipe), "test: align: frozen: expected part of a parameter's");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  recipe.align.frozen.clear();
  recipe.distill.optimizer.rates = {{"mlp", 0.1}, {"mpl", 0.1}};
  EXPECT_ERROR(convert_into("out", recipe),
               "test: distill: optimizer.rates: expected part of the name of a parameter that is "
               "trained, found \"mpl\"");
  recipe.distill.optimizer.rates = {{"mlp", 0.1}};
  recipe.distill.frozen = {"mlp"};
  EXPECT_ERROR(convert_into("out", recipe), "trained, found \"mlp\"");
  recipe.distill.optimizer.rates = Json::object();
  recipe.distill.frozen = {"model"};
  EXPECT_ERROR(convert_into("out", recipe), "test: distill: frozen: expected to leave a parameter");
  recipe.distill.frozen = {"z_proj"};
  recipe.select.layers = {0, 1};
  EXPECT_ERROR(convert_into("out", recipe), "test: distill: frozen: expected part of");
  recipe.select.layers = {0};
  recipe.distill.frozen.clear();
  recipe.distill.optimizer.rates = {{"model", 0}};
  EXPECT_ERROR(convert_into("out", recipe), "expected to leave a parameter a rate, found 0 for");
  recipe.distill.optimizer.rates = Json::object();
  recipe.align.optimizer.rates = {{"mlp", 0.1}};
  EXPECT_ERROR(convert_into("out", recipe), "test: align: optimizer.rates: expected part of");
  recipe.align.optimizer.rates = Json::object();
  convert_into("out", recipe);
  const auto kept = equal_tensors(folder_ / "out/5-distill", folder_ / "out/6-finetune");
  EXPECT_EQ(kept, (std::set<std::string>{"model.layers.0.self_attn.o_gate.weight",
                                         "model.layers.1.self_attn.z_proj.weight"}));

  PretrainRecipe from_scratch = pretraining();
  from_scratch.phases[1].stage.frozen = {"mpl"};
  EXPECT_ERROR(pretrain(from_scratch, {.out = folder_ / "scratch"}),
               "test: phases: b: frozen: expected part of a parameter's name, found \"mpl\"");
  EXPECT_FALSE(fs::exists(folder_ / "scratch/1-a"));
}

TEST_F(Pipeline, stops_after_a_step_and_makes_steps_anew) {
  HaloRecipe recipe = conversion();
  convert_into("out", recipe, {.until = ConversionStep::kAlign});
  EXPECT_TRUE(fs::exists(folder_ / "out/2-align"));
  EXPECT_FALSE(fs::exists(folder_ / "out/3-select"));
  convert_into("out", recipe);
  const std::string first = weights("out/model"), aligned = weights("out/2-align");
  recipe.select.layers = {1};
  EXPECT_ERROR(convert_into("out", recipe), "make it anew with --from select, which removes 3-sel");
  convert_into("out", recipe, {.from = ConversionStep::kSelect});
  EXPECT_TRUE(weights("out/2-align") == aligned);
  EXPECT_FALSE(weights("out/model") == first);
  recipe.select.layers = {0};
  convert_into("out", recipe, {.from = ConversionStep::kSelect});
  EXPECT_TRUE(weights("out/model") == first) << "as if nothing had been in between";
  EXPECT_EQ(read_json(folder_ / "out/results.json")["attention_layers"], Json({0}));

  EXPECT_ERROR(convert_into("new", recipe, {.from = ConversionStep::kSelect}),
               "--from select: expected something to make anew, found nothing");
  EXPECT_ERROR(convert_into("out", recipe,
                            {.from = ConversionStep::kSelect, .until = ConversionStep::kAlign}),
               "--until align: expected a step that is not before --from select");
}

TEST_F(Pipeline, another_teacher_at_the_same_place_is_refused) {
  const HaloRecipe recipe = conversion();
  const ConversionPlan aligns{.until = ConversionStep::kAlign};
  convert_into("begun", recipe, aligns);
  convert_into("done", recipe);
  write_teacher(2);
  for (const char* out : {"begun", "done"}) {
    EXPECT_ERROR(convert_into(out, recipe),
                 concat(out, "/1-transfer: made with other settings: teacher_weights: expected"));
  }
  const ConversionPlan distills{.from = ConversionStep::kDistill};
  EXPECT_ERROR(convert_into("done", recipe, distills), "make it anew with --from transfer, which");
  write_teacher(1);
  EXPECT_NO_THROW(convert_into("begun", recipe));

  write_teacher(2);
  convert_into("begun", recipe, {.from = ConversionStep::kTransfer, .until = aligns.until});
  convert_into("anew", recipe, aligns);
  EXPECT_TRUE(weights("begun/2-align") == weights("anew/2-align"));
}

TEST_F(Pipeline, a_run_older_than_the_teachers_identity_is_gone_on_from) {
  const HaloRecipe recipe = conversion();
  convert_into("whole", recipe);
  convert_into("out", recipe, {.until = ConversionStep::kAlign});
  for (const char* step : {"1-transfer", "2-align"}) {
    const fs::path path = folder_ / "out" / step / "run.json";
    Json run = read_json(path);
    EXPECT_EQ(run["settings"].erase("teacher_weights") + run["settings"].erase("tokenizer"), 2u);
    write_json(path, run);
  }
  convert_into("out", recipe);
  EXPECT_TRUE(weights("out/model") == weights("whole/model"));
  EXPECT_EQ(read_json(folder_ / "out/model/run.json")["settings"]["teacher_weights"],
            model_identity(Checkpoint(recipe.teacher)));
}

TEST_F(Pipeline, stage_3_goes_on_with_other_settings_where_the_recipe_says_so) {
  HaloRecipe recipe = conversion();
  for (const ConversionPlan& plan : {ConversionPlan{.from = ConversionStep::kExtend},
                                     ConversionPlan{.until = ConversionStep::kExtend}}) {
    EXPECT_ERROR(convert_into("out", recipe, plan),
                 "extend: expected a step of the recipe, found one that it leaves out");
  }
  convert_into("out", recipe);
  EXPECT_FALSE(fs::exists(folder_ / "out/7-extend"));
  const std::string tuned = weights("out/6-finetune"), short_rows = weights("out/model");

  recipe.extend = recipe.finetune;
  recipe.extend->context *= 2;
  EXPECT_ERROR(convert_into("out", recipe), "make it anew with --from model");
  convert_into("out", recipe, {.from = ConversionStep::kExtend, .until = ConversionStep::kExtend});
  EXPECT_FALSE(fs::exists(folder_ / "out/model"));
  convert_into("out", recipe);
  EXPECT_TRUE(weights("out/6-finetune") == tuned);
  EXPECT_FALSE(weights("out/7-extend") == tuned);
  EXPECT_FALSE(weights("out/model") == short_rows);
  convert_into("whole", recipe);
  EXPECT_TRUE(weights("whole/model") == weights("out/model"));

  recipe.extend->frozen = {"mpl"};
  EXPECT_ERROR(convert_into("new", recipe), "extend: frozen: expected part of a parameter's name");
}

TEST_F(Pipeline, a_finished_run_stays_what_it_is_whatever_decides_how_it_runs) {
  HaloRecipe recipe = conversion();
  convert_into("out", recipe);
  const auto before = fs::last_write_time(folder_ / "out/results.json");
  for (StageConfig* stage : {&recipe.align, &recipe.distill, &recipe.finetune})
    stage->save_every = 7, stage->log_every = 3, stage->micro_sequences = 1;
  convert_into("out", recipe);
  EXPECT_EQ(fs::last_write_time(folder_ / "out/results.json"), before) << "nor is it measured anew";
}

TEST_F(Pipeline, what_could_only_fail_later_is_found_before_any_step) {
  const auto expect_refused = [&](const HaloRecipe& recipe, const std::string& text) {
    EXPECT_ERROR(convert_into("out", recipe), text);
    EXPECT_FALSE(fs::exists(folder_ / "out/1-transfer")) << text;
  };
  const auto refuse = [&](const std::string& text, const std::function<void(HaloRecipe&)>& change) {
    HaloRecipe recipe = conversion();
    change(recipe);
    expect_refused(recipe, text);
  };
  refuse("finetune: context: expected at most the",
         [](HaloRecipe& recipe) { recipe.finetune.context = 100000; });
  refuse("evaluate: held-out text: text windows: expected a text of at least 100001",
         [](HaloRecipe& recipe) { recipe.evaluate.context = 100000; });
  refuse("mixers: expected one for each of the teacher's 2 layers, found 3",
         [](HaloRecipe& recipe) {
           recipe.mixers = {"gdn", "gdn", "gdn"};
         });
  refuse("select: layers: expected layers of 0 to 1, found 2",
         [](HaloRecipe& recipe) { recipe.select.layers = {2}; });
  refuse("finetune: mixture: expected shares that add up to 1",
         [](HaloRecipe& recipe) { recipe.finetune.mixture.copy = 0.5; });
  refuse("distill: cuda_graph: expected \"auto\" or \"off\"",
         [](HaloRecipe& recipe) { recipe.distill.cuda_graph = "on"; });
  refuse("none: expected a folder of data sets, found nothing", [](HaloRecipe& recipe) {
    recipe.select.layers.reset(), recipe.sweep.task_data = {"none"};
  });
  refuse("long: expected a file or a folder, found nothing",
         [](HaloRecipe& recipe) { recipe.data.long_train = {"long"}; });

  const HaloRecipe recipe = conversion();
  fs::create_directories(folder_ / "out/model");
  write_file(folder_ / "out/model/mine.txt", "mine");
  expect_refused(recipe, "found one that holds mine.txt");
  fs::remove_all(folder_ / "out");
  fs::create_directories(folder_ / "out/report.html");
  expect_refused(recipe, "report.html: expected a file, found a folder");
  fs::remove_all(folder_ / "out");
  fs::create_directories(folder_ / "out");
  write_file(folder_ / "out/recipe.json", "{}");
  expect_refused(recipe, "recipe.json: expected none, or one that a run wrote");
  fs::remove_all(folder_ / "out");
  write_file(folder_ / "out", "a file");
  expect_refused(recipe, "cannot make the folder");
}

TEST_F(Pipeline, a_hypenet_or_a_part_of_a_model_is_no_teacher) {
  HaloRecipe recipe = conversion();
  convert_into("out", recipe);
  recipe.teacher = (folder_ / "out/model").string();
  EXPECT_ERROR(convert_into("other", recipe), "HypeNet");
  EXPECT_FALSE(fs::exists(folder_ / "other"));

  recipe.teacher = (folder_ / "teacher").string();
  CausalLm teacher(byte_teacher_config());
  NamedTensors tensors = named_weights(*teacher, torch::kFloat32);
  tensors.pop_back();
  write_safetensors(folder_ / "teacher/model.safetensors", tensors);
  EXPECT_ERROR(convert_into("other", recipe), "expected");
  EXPECT_FALSE(fs::exists(folder_ / "other"));
}

TEST_F(Pipeline, a_phase_trains_what_the_one_before_it_froze) {
  PretrainRecipe recipe = pretraining();
  recipe.phases[0].stage.frozen = {"mlp"};
  pretrain(recipe, {.out = folder_ / "out"});
  EXPECT_EQ(equal_tensors(folder_ / "out/1-a", folder_ / "out/2-b"), std::set<std::string>());

  const std::string weights = read_file(folder_ / "out/model/model.safetensors");
  fs::remove_all(folder_ / "out/2-b");
  fs::remove_all(folder_ / "out/model");
  pretrain(recipe, {.out = folder_ / "out"});
  EXPECT_TRUE(read_file(folder_ / "out/model/model.safetensors") == weights)
      << "a resumed run has all weights of the first phase";
}

}  // namespace
}  // namespace hypenet
