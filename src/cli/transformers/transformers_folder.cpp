// A Transformer's folder is its published form; a HypeNet's has its modelling file beside it.
#include "cli/transformers/transformers_folder.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "cli/note.h"
#include "cli/outputs.h"
#include "cli/transformers/model_card.h"
#include "cli/transformers/modeling_file.h"
#include "model/mixers/gdn.h"
#include "model/mixers/kda.h"
#include "model/mixers/mixer_kind.h"
#include "model/weights.h"
#include "run/run.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCard = "README.md";
constexpr std::array<std::string_view, 4> kMixers = {"attn", "lightning-attn", "gdn", "kda"};

/// What the folder has beside a model folder's files.
FolderKind transformers_kind() {
  FolderKind kind = model_folder_kind();
  kind.files.insert(kind.files.end(), {kCard, kModelingFile});
  return kind;
}

bool needs_modeling_file(const ModelConfig& config) {
  return config.architecture == Architecture::kHypeNet;
}

/// Throws Error unless modeling_hypenet.py knows the layers of the delta rule in this form.
void check_form(const MixerKind& kind, const DeltaForm& form) {
  HYPENET_CHECK(form.taps == 0, "export: --transformers: ", kind.name,
                ": expected layers without a short convolution, found one");
  HYPENET_CHECK(form.value_size == form.key_size && form.value_heads == form.key_heads &&
                    form.heads == form.query_heads,
                "export: --transformers: ", kind.name,
                ": expected values of as many heads and numbers as keys, found others");
}

void check_mixers(const ModelConfig& config) {
  for (const MixerKind* kind : kinds_of(config)) {
    HYPENET_CHECK(std::ranges::find(kMixers, kind->name) != kMixers.end(),
                  "export: --transformers: expected layers of attn, lightning-attn, gdn and kda, "
                  "found ",
                  kind->name, " (docs/transformers.md)");
    if (kind == &kGdnMixer) check_form(*kind, config.mixers.of<GdnConfig>().form());
    if (kind == &kKdaMixer) check_form(*kind, config.mixers.of<KdaConfig>().form());
  }
}

Json config_of(const ModelConfig& config, const Checkpoint& checkpoint) {
  Json json = to_json(config);
  // transformers loads a model in this type.
  json["torch_dtype"] = type_name(stored_type(checkpoint));
  if (!needs_modeling_file(config)) return json;
  const std::string module = fs::path(kModelingFile).stem().string();
  json["auto_map"] = {{"AutoConfig", module + ".HypeNetConfig"},
                      {"AutoModel", module + ".HypeNetModel"},
                      {"AutoModelForCausalLM", module + ".HypeNetForCausalLM"}};
  return json;
}

/// Tensors of the model, under their published names; a tied head's second copy is none of them.
NamedTensors tensors_of(const ModelConfig& config, const Checkpoint& checkpoint) {
  NamedTensors tensors;
  const bool has_embedding = checkpoint.contains("model.embed_tokens.weight");
  for (const std::string& name : checkpoint.names()) {
    if (name.ends_with(".rotary_emb.inv_freq")) continue;
    if (name == "lm_head.weight" && config.tie_word_embeddings && has_embedding) continue;
    tensors.emplace_back(name, checkpoint.tensor(name));
  }
  return tensors;
}

}  // namespace

void write_transformers_folder(const fs::path& model, const fs::path& folder) {
  check_folder(folder, transformers_kind());
  const Checkpoint checkpoint = open_rounded(model);
  const ModelConfig config = read_model_config(checkpoint, print_note);
  check_is_written(config, checkpoint.config_place());
  check_mixers(config);
  check_tensors(checkpoint, config);
  const ModelCard card = read_model_card(model);
  Stage stage{.name = "export", .parents = {model}};
  if (card.run.contains("settings")) stage.settings = card.run["settings"];
  CheckpointContents contents{.config = config_of(config, checkpoint),
                              .tensors = tensors_of(config, checkpoint),
                              .run = run_record(stage),
                              .companions_from = model};
  contents.reports[kCard] = write_model_card(card, config, plain_path(folder).filename().string());
  if (needs_modeling_file(config)) contents.reports[kModelingFile] = modeling_file();
  write_checkpoint(folder, contents);
}

}  // namespace hypenet
