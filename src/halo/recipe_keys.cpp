// The keys come from the structs' own lists of fields; what each means stands in one table, where
// the keys of a stage are written once for all stages.
#include "halo/recipe_keys.h"

#include <algorithm>
#include <map>
#include <set>

#include "halo/recipe.h"

namespace hypenet {
namespace {

struct Description {
  std::string_view key, text;
};

constexpr Description kDescriptions[] = {
    {"name", "name of the recipe, for messages and the report"},
    {"teacher", "model folder or GGUF file of the Transformer (--teacher)"},
    {"tokenizer",
     "folder with the tokenizer.json of the new model; empty where model is a folder: its own"},
    {"model",
     "what training begins with: a model folder or GGUF file (--model), for its weights; or a "
     "config.json written out (Qwen3, Qwen2, Llama or HypeNet), for random ones"},
    {"seed", "of everything that is drawn: gates, order of the text, prompts"},
    {"gate_std",
     "standard deviation of the new gates' weights (z_proj, o_gate; those of other mixers than "
     "lightning-attn start as docs/mixers.md says)"},
    {"mixer",
     "what the recurrent layers are: lightning-attn (so is null), gdn (Gated DeltaNet), kda (Kimi "
     "Delta Attention), mamba2, nha (Native Hybrid Attention), rwkv7 or supra"},
    {"mixers",
     "instead of mixer, a name for each layer of the teacher: what it is if it becomes recurrent"},
    {"attn_logits_scaling",
     "of the finished model: \"hype A\" scales the queries at position t by log(t + A) / log(A); "
     "a number scales all alike; null not at all"},
    {"data", "where text comes from"},
    {"data.train", "files or folders of text to train on (--data)"},
    {"data.validation",
     "files or folders of held-out text (--validation); none: the last fiftieth of data.train"},
    {"data.long_train", "text of stage 3 alone, whose rows are long; none: data.train"},
    {"data.text_field", "key of the text in JSON lines, column of the text in Parquet"},
    {"data.on_bad_document", "a document that cannot be read: skip (and count), or fail"},
    {"data.max_tokens", "tokens of data.train, likewise of data.long_train, at most; 0: all"},
    {"align", "stage 1: each layer's recurrent twin learns the output of the attention it is of"},
    {"distill", "stage 2: the hybrid learns the teacher's next-token distribution"},
    {"finetune", "stage 3: the hybrid learns long rows"},
    {"extend",
     "stage 3 goes on with other settings, as rows that are longer still; null: it does not"},
    {"sweep", "step S, first half: each layer, replaced by its twin, is scored"},
    {"sweep.tasks",
     "what to score on: recall, text and lazy (held-out text), and tasks of hypenet eval"},
    {"sweep.task_data", "folders of the data sets of such tasks"},
    {"sweep.limit", "items of such a task at most; 0: all"},
    {"sweep.version", "of fda, swde and squad_completion: 0 or 1"},
    {"sweep.lengths", "tokens of the prompts of RULER's tasks"},
    {"sweep.likelihoods", "also log-likelihoods of the right answers (rule likelihood)"},
    {"sweep.precision",
     "that the models run in: float32 or bfloat16; float32 prompts are slow on a GPU"},
    {"sweep.context", "tokens of a recall prompt and of a text window"},
    {"sweep.needles", "facts hidden in a recall prompt: 1 to 8"},
    {"sweep.prompts", "recall prompts"},
    {"sweep.windows", "text windows"},
    {"sweep.lazy", "the windows of the rule lazy, in tokens"},
    {"sweep.lazy.queries", "the last queries of a row, which are looked at"},
    {"sweep.lazy.first", "tokens at the row's beginning whose attention counts as lazy"},
    {"sweep.lazy.recent", "tokens at the row's end whose attention counts as lazy"},
    {"select", "step S, second half: which layers stay attention"},
    {"select.rule", "halo, recall-drop, uniform, likelihood, kl, lazy or pilot (docs/halo.md)"},
    {"select.keep", "how many layers; 0: a quarter"},
    {"select.layers", "these layers, instead of the rule's; there is no sweep then"},
    {"select.pilot", "short training of candidate sets of layers, for the rule pilot"},
    {"select.pilot.steps", "of stage 2 for each candidate"},
    {"select.pilot.candidates", "sets of layers at most"},
    {"evaluate",
     "what the finished model, and the teacher or the model that it began with, are measured on"},
    {"evaluate.context", "tokens of a window of held-out text, for perplexity"},
    {"evaluate.windows", "such windows at most"},
    {"evaluate.contexts", "lengths of recall prompts, in tokens; none: no recall is measured"},
    {"evaluate.needles", "facts hidden in a recall prompt: 1 to 8"},
    {"evaluate.prompts", "recall prompts of each length"},
    {"phases", "stages of a training, one after the other"},
    {"phases.N.name", "of the phase, in its folder and the reports"},
    {"phases.N.stage", "the phase's own settings"},
    {"stage.steps", "optimizer steps"},
    {"stage.sequences", "rows of a step"},
    {"stage.micro_sequences", "rows computed at a time, for less memory; 0: all of a step"},
    {"stage.context", "tokens of a row"},
    {"stage.row_ranks",
     "ranks that share the tokens of each row, for rows that one GPU cannot hold; divides the "
     "number of ranks"},
    {"stage.precision",
     "of activations and products: float32 or bfloat16; parameters stay float32"},
    {"stage.activation_checkpointing",
     "blocks are computed again in the backward pass: less memory, a third more work"},
    {"stage.cuda_graph",
     "replay steps from a recording: on, off, or auto (on a GPU, but for many micro-batches)"},
    {"stage.shard_teacher",
     "each of several processes holds a part of the teacher: on, off, or auto (where it would take "
     "more than a tenth of a GPU's memory)"},
    {"stage.save_every", "steps between saved states, which a stopped run goes on from"},
    {"stage.log_every", "steps between lines of progress and of metrics.jsonl"},
    {"stage.objective",
     "what distill, finetune and extend minimise: kl, kl+answers or cross_entropy; empty: kl in "
     "distill, else cross_entropy"},
    {"stage.frozen", "parts of parameters' names: those are not trained in this stage"},
    {"stage.attn_logits_scaling",
     "of the model while distill, finetune, extend or a phase trains it, written as the finished "
     "model's; null, as published: none"},
    {"stage.optimizer", "AdamW and its schedule"},
    {"stage.optimizer.peak_lr", "learning rate after the warm-up"},
    {"stage.optimizer.final_lr", "learning rate of the last step, reached by half a cosine"},
    {"stage.optimizer.warmup_steps", "steps in which the rate grows to its peak"},
    {"stage.optimizer.beta1", "decay of the first moment"},
    {"stage.optimizer.beta2", "decay of the second moment"},
    {"stage.optimizer.epsilon", "added to the root of the second moment"},
    {"stage.optimizer.weight_decay",
     "pull of every weight but A_log and dt_bias to zero, times the rate"},
    {"stage.optimizer.clip", "largest norm of the whole gradient; 0: any"},
    {"stage.optimizer.rates",
     "parts of parameters' names, and what the rate is multiplied by for those: {\"mlp\": 0.1}"},
    {"stage.mixture", "shares of the kinds of rows, which add up to 1"},
    {"stage.mixture.prose", "rows of the text"},
    {"stage.mixture.needle", "rows of text with facts hidden in it, and questions at the end"},
    {"stage.mixture.recall", "likewise in many wordings (docs/halo.md)"},
    {"stage.mixture.copy", "rows with a span that appears again"}};

const std::map<std::string_view, std::string_view>& descriptions() {
  static const auto table = [] {
    std::map<std::string_view, std::string_view> by_key;
    for (const auto& [key, text] : kDescriptions) by_key.emplace(key, text);
    return by_key;
  }();
  return table;
}

/// The name in the table: stages share theirs.
std::string described(const std::string& path) {
  for (const std::string stage : {"align", "distill", "finetune", "extend", "phases.N.stage"}) {
    if (path.starts_with(stage + ".")) return "stage" + path.substr(stage.size());
  }
  return path;
}

template <class T>
std::string_view kind_of() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_same_v<T, int64_t>) return "integer";
  if constexpr (std::is_same_v<T, double>) return "number";
  if constexpr (std::is_same_v<T, std::string>) return "string";
  if constexpr (std::is_same_v<T, std::vector<std::string>>) return "list of strings";
  if constexpr (std::is_same_v<T, std::vector<int64_t>>) return "list of integers";
  if constexpr (std::is_same_v<T, std::optional<std::vector<int64_t>>>) {
    return "list of integers, or null";
  }
  if constexpr (std::is_same_v<T, std::optional<std::string>>) return "string, or null";
  if constexpr (std::is_same_v<T, std::optional<std::vector<std::string>>>) {
    return "list of strings, or null";
  }
  return "JSON";
}

/// Adds the keys of a struct, depth first.
class KeyList {
 public:
  template <class T>
  void add_fields(const std::string& prefix, T value) {
    value.visit([&](const char* name, auto& member) { add(prefix + name, member); });
  }
  std::vector<RecipeKey> take() { return std::move(keys_); }

 private:
  template <class T>
  void add(const std::string& path, const T& value) {
    if constexpr (json_detail::Struct<T>) {
      push(path, "section", nullptr);
      add_fields(path + ".", value);
    } else if constexpr (std::is_same_v<T, std::optional<StageConfig>>) {
      push(path, "section, or null", nullptr);
      add_fields(path + ".", StageConfig());
    } else if constexpr (std::is_same_v<T, std::vector<PretrainPhase>>) {
      push(path, "list of sections", nullptr);
      add_fields(path + ".N.", PretrainPhase());
    } else {
      push(path, kind_of<T>(), write_fields(value));
    }
  }
  void push(const std::string& path, std::string_view kind, const Json& value) {
    const auto found = descriptions().find(described(path));
    keys_.push_back({path, kind, value, found == descriptions().end() ? "" : found->second});
  }

  std::vector<RecipeKey> keys_;
};

bool is_in(const std::string& path, const std::string& section) {
  return path.starts_with(section + ".");
}

std::string row(const std::string& name, const RecipeKey& key) {
  std::string about;
  for (const char character : key.about) {
    if (character == '|') about.push_back('\\');
    about.push_back(character);
  }
  const bool is_section = key.kind.find("section") != std::string_view::npos;
  return concat("| `", name, "` | ", key.kind, " | ",
                is_section ? "" : concat("`", key.value.dump(), "`"), " | ", about, " |\n");
}

constexpr const char* kTableHead =
    "\n| key | kind | default | what it is |\n| --- | --- | --- | --- |\n";

constexpr const char* kPageHead = R"(# Keys of a recipe

A recipe is a JSON file: `recipes/` holds some. Every key has a default, and a recipe names those that it changes.
`--set section.key=value` changes one for a run. Paths are relative to the recipe's folder.
`hypenet recipe --explain KEY` prints a row of this page, `hypenet recipe --show FILE` a recipe with all its keys.
This page is written by `hypenet recipe --markdown`.

A run is refused where it would go on with other settings than it began with.
Free to change at any time are the keys of a stage that decide how it runs and not what comes out, but for rounding:
`micro_sequences`, `row_ranks`, `activation_checkpointing`, `cuda_graph`, `shard_teacher`, `save_every` and
`log_every`.
)";

void add_section(std::string& page, const std::string& title, const std::vector<RecipeKey>& keys,
                 const std::string& section) {
  page += concat("\n## ", title, "\n", kTableHead);
  for (const RecipeKey& key : keys) {
    if (is_in(key.path, section)) page += row(key.path.substr(section.size() + 1), key);
  }
}

}  // namespace

std::vector<RecipeKey> conversion_keys() {
  KeyList list;
  list.add_fields("", HaloRecipe());
  return list.take();
}

std::vector<RecipeKey> training_keys() {
  KeyList list;
  list.add_fields("", PretrainRecipe());
  return list.take();
}

std::vector<std::string> stale_descriptions() {
  std::set<std::string> known;
  for (const auto& keys : {conversion_keys(), training_keys()}) {
    for (const RecipeKey& key : keys) known.insert(described(key.path));
  }
  std::vector<std::string> stale;
  for (const auto& [name, about] : descriptions()) {
    if (!known.contains(std::string(name))) stale.emplace_back(name);
  }
  return stale;
}

std::string recipe_page() {
  std::string page = kPageHead;
  const auto conversion = conversion_keys(), training = training_keys();
  const auto add_top = [&](const char* title, const std::vector<RecipeKey>& keys) {
    page += concat("\n## ", title, "\n", kTableHead);
    for (const RecipeKey& key : keys) {
      if (key.path.find('.') == std::string::npos) page += row(key.path, key);
    }
  };
  add_top("Of a conversion (`hypenet convert`)", conversion);
  add_top("Of a training on text alone (`hypenet train`)", training);
  add_section(page, "phases.N", training, "phases.N");
  page.erase(page.find("| `stage.steps`"));  // those follow, for all stages
  add_section(page, "A stage: align, distill, finetune, extend, phases.N.stage", conversion,
              "align");
  for (const char* section : {"data", "sweep", "select", "evaluate"})
    add_section(page, section, conversion, section);
  return page;
}

}  // namespace hypenet
