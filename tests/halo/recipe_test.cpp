// Recipes: what is in the repository reads, and what is wrong is named.
#include "halo/recipe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

std::filesystem::path recipe_path(const std::string& name) {
  return std::filesystem::path(HYPENET_SOURCE) / "recipes" / (name + ".json");
}

TEST(Recipe, published_recipes_hold_the_published_numbers) {
  const std::pair<std::string, double> published[] = {{"2b", 1e-4}, {"5b", 5e-5}, {"9b", 3e-5}};
  for (const auto& [size, peak] : published) {
    const auto recipe = read_halo_recipe(
        {.path = recipe_path("hypenet-" + size), .teacher = "teacher", .data = {"text"}});
    EXPECT_EQ(recipe.align.tokens(), int64_t{20000} * 32 * 512);
    EXPECT_EQ(recipe.distill.tokens(), int64_t{20000} * 96 * 512);
    EXPECT_EQ(recipe.finetune.tokens(), int64_t{500} * 128 * 16384);
    EXPECT_DOUBLE_EQ(recipe.align.optimizer.peak_lr, 1e-3);
    EXPECT_DOUBLE_EQ(recipe.distill.optimizer.peak_lr, peak);
    EXPECT_DOUBLE_EQ(recipe.finetune.optimizer.peak_lr, 1e-5);
    for (const auto& stage : {recipe.align, recipe.distill, recipe.finetune}) {
      EXPECT_DOUBLE_EQ(stage.optimizer.final_lr, 1e-5);
      EXPECT_EQ(stage.optimizer.warmup_steps, 50);
      EXPECT_EQ(stage.precision, "bfloat16");
    }
    EXPECT_EQ(recipe.attn_logits_scaling, "hype 500");
  }
}

TEST(Recipe, the_tutorial_sees_the_tokens_that_its_page_says) {
  const auto recipe =
      read_halo_recipe({.path = recipe_path("tutorial"), .teacher = "teacher", .data = {"text"}});
  EXPECT_EQ(recipe.align.tokens(), 22'937'600);
  EXPECT_EQ(recipe.distill.tokens(), 299'991'040);
  EXPECT_EQ(recipe.finetune.tokens(), 19'988'480);
}

TEST(Recipe, smollm2_names_as_many_layers_as_it_keeps_a_quarter_of_its_30) {
  constexpr int64_t kLayers = 30;
  const SelectConfig select = read_halo_recipe({.path = recipe_path("smollm2-135m")}).select;
  const std::vector<int64_t>& layers = select.layers.value();
  EXPECT_EQ(std::ssize(layers), select.keep);
  EXPECT_EQ(select.keep, kLayers / 4);
  EXPECT_EQ(std::ranges::adjacent_find(layers, std::greater_equal()), layers.end());
  EXPECT_TRUE(layers.front() >= 0 && layers.back() < kLayers);
}

TEST(Recipe, paths_are_relative_to_the_recipe_and_the_command_line_wins) {
  const auto recipe = read_halo_recipe({.path = recipe_path("tiny")});
  EXPECT_TRUE(std::filesystem::exists(recipe.teacher)) << recipe.teacher;
  EXPECT_TRUE(std::filesystem::exists(recipe.data.train.front()));
  const auto other =
      read_halo_recipe({.path = recipe_path("tiny"), .teacher = "mine/", .data = {"a", "./b/"}});
  const auto here = [](const char* name) {
    return (std::filesystem::current_path() / name).string();
  };
  EXPECT_EQ(other.teacher, here("mine"));
  EXPECT_EQ(other.data.train, (std::vector<std::string>{here("a"), here("b")}));
  EXPECT_TRUE(other.data.validation.empty()) << "held-out text comes from the user's own then";
}

TEST(Recipe, set_changes_a_key_and_refuses_unknown_ones) {
  const auto with = [](const std::string& setting) {
    return read_halo_recipe({.path = recipe_path("tiny"), .settings = {setting}});
  };
  EXPECT_EQ(with("distill.steps=3").distill.steps, 3);
  EXPECT_EQ(with("distill.optimizer.peak_lr=0.5").distill.optimizer.peak_lr, 0.5);
  EXPECT_EQ(with("select.layers=[1,2]").select.layers, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(with("select.rule=uniform").select.rule, "uniform");
  EXPECT_ERROR(with("distill.step=3"), "distill: unknown key \"step\", expected one of");
  EXPECT_ERROR(with("distill.steps=many"), "distill: steps: expected an integer, found a string");
  EXPECT_ERROR(with("distill.steps.more=3"),
               ": distill.steps: expected a section with the key more, found an integer");
  EXPECT_ERROR(with("distill.steps"), "expected section.key=value");
  EXPECT_ERROR(with("distill.context=0"), "distill: context: expected a positive number, found 0");
  EXPECT_EQ(with("finetune.objective=kl+answers").finetune.objective, "kl+answers");
  EXPECT_ERROR(
      with("finetune.objective=mse"),
      R"(finetune: objective: expected "kl", "kl+answers" or "cross_entropy", found "mse")");
  EXPECT_ERROR(with("align.objective=kl"), "align: objective: expected none");
  EXPECT_ERROR(with("select.rule=best"), "best");
  EXPECT_ERROR(with("attn_logits_scaling=hyper"), "attn_logits_scaling");
}

TEST(Recipe, layers_have_one_mixer_or_each_its_own) {
  const auto with = [](const std::vector<std::string>& settings) {
    return read_halo_recipe({.path = recipe_path("tiny"), .settings = settings});
  };
  const std::string two = R"(mixers=["gdn","kda"])";
  EXPECT_EQ(with({}).mixer, std::nullopt);
  EXPECT_EQ(with({"mixer=kda"}).mixer, "kda");
  EXPECT_EQ(with({two}).mixers, (std::vector<std::string>{"gdn", "kda"}));
  EXPECT_EQ(with({two, "mixers.1=lightning-attn"}).mixers->back(), "lightning-attn");
  EXPECT_EQ(with({"mixer=kda", two, "mixer=null"}).mixers->size(), 2U);
  EXPECT_ERROR(with({"mixer=kda", two}), "mixer, mixers: expected one of the two, found both");
  EXPECT_ERROR(with({"mixer=mamba"}), "mixer: expected \"lightning-attn\", ");
  EXPECT_ERROR(with({two, "mixers.1=attn"}), "mixers[1]: expected \"lightning-attn\", ");
  EXPECT_ERROR(with({"mixers=gdn"}), "mixers: expected an array, found a string");

  const TemporaryFolder folder;
  const Json kept = resolved_recipe({.path = recipe_path("tiny"), .settings = {two}});
  write_json(folder / "recipe.json", {{"command", "convert"}, {"recipe", kept}});
  EXPECT_EQ(read_halo_recipe({.path = folder / "recipe.json"}).mixers->size(), 2U);
}

TEST(Recipe, settings_that_lead_nowhere_say_where) {
  const auto with = [](const std::vector<std::string>& settings) {
    return read_halo_recipe({.path = recipe_path("tiny"), .settings = settings});
  };
  const std::string two = R"(mixers=["gdn","kda"])";
  EXPECT_ERROR(with({"mixers.3=kda"}),
               "--set mixers.3=kda: mixers: expected a list in the recipe whose entry 3 to change, "
               "found none; set the whole list, as in key=[1,2]");
  for (const std::string entry : {"2", "2000000000", "99999999999999999999", "last", ""}) {
    EXPECT_ERROR(with({two, "mixers." + entry + "x=kda"}), "expected the number of one of the");
    if (entry.empty()) continue;
    EXPECT_ERROR(
        with({two, "mixers." + entry + "=kda"}),
        ": mixers: expected the number of one of the list's 2 entries (from 0 on), found " + entry);
  }
  EXPECT_ERROR(with({"distill.2000000000=1"}),
               ": distill: expected a list in the recipe whose entry 2000000000 to change, found a "
               "section");
  EXPECT_ERROR(with({"seed.x=1"}),
               "--set seed.x=1: seed: expected a section with the key x, found an integer");
  EXPECT_ERROR(with({"seed.=1"}), "--set seed.=1: expected section.key=value");
  EXPECT_EQ(with({"sweep.lazy.queries=3"}).sweep.lazy.queries, 3);
}

TEST(Recipe, a_recipe_that_a_run_kept_is_read_and_changed_like_another) {
  const TemporaryFolder folder;
  const Json recipe = resolved_recipe({.path = recipe_path("tiny")});
  write_json(folder / "recipe.json", {{"command", "convert"}, {"recipe", recipe}});
  const auto again =
      read_halo_recipe({.path = folder / "recipe.json", .settings = {"distill.steps=3"}});
  EXPECT_EQ(again.teacher, recipe["teacher"].get<std::string>()) << "absolute: from any folder";
  EXPECT_EQ(again.align.steps, 250);
  EXPECT_EQ(again.distill.steps, 3);
}

TEST(Recipe, resolved_has_all_keys_and_needs_no_teacher) {
  const Json recipe = resolved_recipe({.path = recipe_path("hypenet-2b")});
  EXPECT_EQ(recipe["teacher"], "");
  EXPECT_EQ(recipe["sweep"]["lazy"]["queries"], 32);
  const Json training = resolved_recipe({.path = recipe_path("tiny-teacher")});
  EXPECT_EQ(training["phases"].size(), 3U);
  EXPECT_ERROR(resolved_recipe({.path = recipe_path("tiny"), .settings = {"distill.step=3"}}),
               "unknown key");
}

TEST(Recipe, values_that_no_stage_or_evaluation_can_have_are_named) {
  const auto with = [](const std::string& setting) {
    return read_halo_recipe({.path = recipe_path("tiny"), .settings = {setting}});
  };
  EXPECT_ERROR(with("evaluate.contexts=[256,0]"), "evaluate: contexts: expected positive numbers");
  EXPECT_ERROR(with("evaluate.needles=9"), "evaluate: needles: expected 1 to 8, found 9");
  EXPECT_ERROR(with("align.optimizer.peak_lr=-1"), "peak_lr: expected 0 or more, found -1");
  EXPECT_ERROR(with("align.optimizer.beta1=1"), "beta1: expected 0 to below 1, found 1");
  EXPECT_ERROR(with("align.optimizer.rates=[]"),
               "rates: expected an object, as {\"mlp\": 0.1}, found []");
  EXPECT_ERROR(with("align.optimizer.rates={\"mlp\":-1}"),
               "rates: mlp: expected a number from 0 to 1e6, found -1");
  EXPECT_ERROR(with("align.optimizer.rates={\"mlp\":1e300}"), "from 0 to 1e6, found 1e+300");
  EXPECT_ERROR(with("align.optimizer.peak_lr=1e300"), "peak_lr: expected at most 1e6");
  EXPECT_ERROR(with("data.max_tokens=-1"), "max_tokens: expected 0 or more, found -1");
  EXPECT_ERROR(with("finetune.attn_logits_scaling=hype 1"), "expected null, a number, \"hype\"");
  EXPECT_ERROR(with("align.attn_logits_scaling=hype 500"),
               "align: attn_logits_scaling: expected null, as this stage trains no attention, "
               "found \"hype 500\"");
}

TEST(Recipe, settings_of_a_sweep_that_make_no_sense_are_named) {
  const auto with = [](const std::string& setting) {
    return read_halo_recipe({.path = recipe_path("tiny"), .settings = {setting}});
  };
  EXPECT_ERROR(with("sweep.needles=9"), "sweep: needles: expected 1 to 8, found 9");
  EXPECT_ERROR(with("sweep.needles=0"), "sweep: needles: expected 1 to 8, found 0");
  EXPECT_ERROR(with("sweep.lengths=[4096,0]"), "sweep: lengths: expected positive numbers");
  EXPECT_ERROR(with("sweep.version=2"), "sweep: version: expected 0 or 1, found 2");
  EXPECT_ERROR(with(R"(sweep.tasks=["text","recall","text"])"), "expected text once");
  EXPECT_ERROR(with("sweep.lazy.queries=-1"), "sweep: lazy: expected positive queries");
  SweepConfig config;
  config.context = 64;
  check_sweep(config, "sweep");
  config.tasks = {"lazy"};
  EXPECT_ERROR(check_sweep(config, "sweep"), "fewer first and recent tokens than 65");
}

TEST(Recipe, a_recipe_without_teacher_or_text_says_what_to_give) {
  EXPECT_ERROR(read_halo_recipe({.path = recipe_path("hypenet-2b"), .data = {"text"}}),
               "give --teacher");
  EXPECT_ERROR(read_halo_recipe({.path = recipe_path("hypenet-2b"), .teacher = "t"}),
               "give --data");
  EXPECT_ERROR(read_halo_recipe({.path = recipe_path("missing")}), "missing.json: cannot open");
  const TemporaryFolder folder;
  write_file(folder / "bad.json", "{\"name\": ");
  EXPECT_ERROR(read_halo_recipe({.path = folder / "bad.json"}), "bad.json: expected JSON");
}

TEST(Recipe, pretraining_recipe_of_the_tiny_teacher_reads) {
  const auto recipe = read_pretrain_recipe({.path = recipe_path("tiny-teacher")});
  EXPECT_EQ(recipe.phases.size(), 3U);
  EXPECT_ERROR(
      read_pretrain_recipe({.path = recipe_path("tiny-teacher"), .settings = {"phases=[]"}}),
      "expected at least one");
  EXPECT_ERROR(read_pretrain_recipe({.path = recipe_path("tiny-teacher"),
                                     .settings = {R"(data.long_train=["more.txt"])"}}),
               "data: long_train: expected none");
}

TEST(Recipe, a_training_begins_with_a_folder_or_with_a_config) {
  const TemporaryFolder folder;
  Json json = read_json(recipe_path("tiny-teacher"));
  json["model"] = "../teacher/";
  json.erase("tokenizer");
  write_json(folder / "uptrain.json", json);
  const auto recipe = read_pretrain_recipe({.path = folder / "uptrain.json"});
  EXPECT_EQ(recipe.model, (folder.path().parent_path() / "teacher").string());
  EXPECT_EQ(recipe.tokenizer_folder(), recipe.model.get<std::string>());
  EXPECT_EQ(read_pretrain_recipe({.path = recipe_path("tiny-uptrain")}).model,
            HYPENET_SOURCE "/out/tiny-supra/4-hybrid");
  const auto given = read_pretrain_recipe({.path = recipe_path("tiny-teacher"), .model = "mine"});
  EXPECT_EQ(given.model, absolute_path("mine")) << "from the working folder";
  EXPECT_EQ(given.tokenizer, "") << "the model has its own";

  const auto with = [&](const std::string& setting) {
    return read_pretrain_recipe({.path = folder / "uptrain.json", .settings = {setting}});
  };
  EXPECT_ERROR(with("tokenizer=other"),
               "tokenizer: expected none, as model is a folder, which has its own, found");
  EXPECT_ERROR(with("model="), "model: expected a model folder (give --model), or a config.json");
  EXPECT_ERROR(with("model=null"), "found none");
  EXPECT_ERROR(with("model=[1]"), "found an array");
  EXPECT_ERROR(with("model={}"), "tokenizer: expected a folder with tokenizer.json, found none");
}

TEST(Recipe, supras_uptraining_has_the_published_numbers) {
  const auto recipe = read_pretrain_recipe(
      {.path = recipe_path("supra-uptrain"), .model = "model", .data = {"text"}});
  ASSERT_EQ(recipe.phases.size(), 1U);
  const StageConfig& stage = recipe.phases[0].stage;
  EXPECT_EQ(stage.context, 2048);
  EXPECT_EQ(stage.sequences * stage.context, int64_t{1} << 21);
  EXPECT_NEAR(static_cast<double>(stage.tokens()), 100e9, 1e9);
  EXPECT_DOUBLE_EQ(stage.optimizer.peak_lr, 3e-5);
  EXPECT_DOUBLE_EQ(stage.optimizer.final_lr, 1e-5);
  EXPECT_EQ(stage.optimizer.warmup_steps, 1000);
  EXPECT_EQ(stage.precision, "bfloat16");
  EXPECT_ERROR(read_pretrain_recipe({.path = recipe_path("supra-uptrain"), .data = {"text"}}),
               "give --model");
}

}  // namespace
}  // namespace hypenet
