// Recipes: one JSON file says everything about a conversion, one section a stage.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "halo/lazy.h"
#include "halo/twins/twin_rule.h"
#include "run/corpus.h"
#include "run/evaluate.h"
#include "run/pretrain.h"
#include "train/loop.h"

namespace hypenet {

/// The layer sweep: what every layer, replaced by its twin, is measured on.
struct SweepConfig {
  /// "recall" (facts hidden in held-out text), "text" (held-out text itself), "lazy" (the teacher's
  /// attention on it), and tasks of the evaluation room: fda, swde, squad_completion, arc_easy ...
  std::vector<std::string> tasks = {"recall", "text"};
  std::vector<std::string> task_data;     // folders of the evaluation room's data sets
  int64_t limit = 0;                      // items of such a task; 0: all
  int64_t version = 0;                    // of fda, swde and squad_completion
  std::vector<int64_t> lengths = {4096};  // of RULER tasks, tokens
  bool likelihoods = false;               // also of the right answers of such tasks
  std::string precision = "float32";      // that the models run in: "float32" | "bfloat16"
  int64_t context = 512;                  // tokens of a recall prompt and of a text window
  int64_t needles = 4;
  int64_t prompts = 64;
  int64_t windows = 64;
  LazyConfig lazy;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("tasks", tasks);
    field("task_data", task_data);
    field("limit", limit);
    field("version", version);
    field("lengths", lengths);
    field("likelihoods", likelihoods);
    field("precision", precision);
    field("context", context);
    field("needles", needles);
    field("prompts", prompts);
    field("windows", windows);
    field("lazy", lazy);
  }
};

/// Pilots of the rule "pilot": stage 2, cut short, for a handful of candidate sets of layers. They
/// are measured on the sweep's recall prompts and text windows.
struct PilotConfig {
  int64_t steps = 300;     // of stage 2, whose other settings stay
  int64_t candidates = 8;  // at most
  template <class Visitor>
  void visit(Visitor&& field) {
    field("steps", steps);
    field("candidates", candidates);
  }
};

struct SelectConfig {
  std::string rule = "halo";                   // halo/select.h
  int64_t keep = 0;                            // 0: floor(L / 4)
  std::optional<std::vector<int64_t>> layers;  // given by hand instead of by the rule
  PilotConfig pilot;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("rule", rule);
    field("keep", keep);
    field("layers", layers);
    field("pilot", pilot);
  }
};

/// A conversion: the settings of every step of HALO (docs/halo.md).
struct HaloRecipe {
  std::string name;
  std::string teacher;
  DataConfig data;
  int64_t seed = 0;
  std::optional<std::string> mixer;                // of the recurrent layers; none: lightning-attn
  std::optional<std::vector<std::string>> mixers;  // instead: of each layer that becomes recurrent
  double gate_std = 0.02;  // of the new z_proj and o_gate weights: N(0, gate_std)
  StageConfig align, distill, finetune;
  std::optional<StageConfig> extend;  // after finetune, on rows that are longer still
  SweepConfig sweep;
  SelectConfig select;
  Json attn_logits_scaling;  // of the finished model: "hype <a>" | number | null
  EvaluateConfig evaluate;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("name", name);
    field("teacher", teacher);
    field("data", data);
    field("seed", seed);
    field("mixer", mixer);
    field("mixers", mixers);
    field("gate_std", gate_std);
    field("align", align);
    field("sweep", sweep);
    field("select", select);
    field("distill", distill);
    field("finetune", finetune);
    field("extend", extend);
    field("attn_logits_scaling", attn_logits_scaling);
    field("evaluate", evaluate);
  }
};

/// Where a recipe comes from and what the command line changes in it.
struct RecipeSource {
  std::filesystem::path path = {};  // a recipe, or what a run kept of its own (run/kept_recipe.h)
  std::vector<std::string> settings = {};  // "section.key=value": JSON, or else a string
  std::string teacher = {};  // replaces the recipe's, from the working folder; empty: keeps it
  std::string model = {};    // likewise what a training begins with, whose tokenizer is its own
  std::vector<std::string> data = {};        // replaces data.train likewise
  std::vector<std::string> validation = {};  // replaces data.validation likewise
  std::string text_field = {};               // replaces data.text_field; empty: keeps it
  std::string on_bad_document = {};          // replaces data.on_bad_document; empty: keeps it
};

/// Whether a sweep's task runs on held-out text: recall, text or lazy.
bool is_on_held_out(const std::string& task);

/// A recipe with all keys, those that it leaves out at their defaults, of a conversion or (where it
/// has phases) a training; teacher, model and text may be missing. Throws Error for unknown
/// keys and wrong kinds.
Json resolved_recipe(const RecipeSource& source);

/// Reads a conversion recipe. Paths inside it are relative to its own folder, those of `source` to
/// the working folder, and come back absolute. Throws Error naming file and key for unknown keys,
/// wrong kinds and impossible values.
HaloRecipe read_halo_recipe(const RecipeSource& source);

/// Throws Error naming the key for settings of a sweep that make no sense.
void check_sweep(const SweepConfig& config, const std::string& place);

/// The same for a training on text alone.
PretrainRecipe read_pretrain_recipe(const RecipeSource& source);

}  // namespace hypenet
