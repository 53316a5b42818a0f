// hypenet export: a model in the forms that other programs read. Each form is an option that names
// what is written.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/readable_bytes.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_folder.h"
#include "cli/note.h"
#include "cli/outputs.h"
#include "cli/progress.h"
#include "cli/transformers/transformers_folder.h"
#include "model/weights.h"
#include "run/run.h"
#include "store/gguf_export.h"
#include "store/gguf_tensors.h"
#include "text/gguf_tokenizer.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

struct ExportOptions {
  fs::path model;
  std::optional<fs::path> folder = {}, gguf = {}, transformers = {};
  std::string type = kAutomaticType;
};

struct NamedBlockType {
  std::string_view name;
  BlockType type;
};
constexpr auto kTypes = std::to_array<NamedBlockType>({{"f32", BlockType::kF32},
                                                       {"f16", BlockType::kF16},
                                                       {"bf16", BlockType::kBF16},
                                                       {"q8_0", BlockType::kQ80},
                                                       {"q4_0", BlockType::kQ40}});

/// The type that --type names; auto: the one that most of the weights are stored in.
BlockType chosen_type(const ExportOptions& options, const Checkpoint& checkpoint) {
  if (options.type == kAutomaticType) {
    const torch::ScalarType stored = stored_type(checkpoint);
    if (stored == torch::kFloat16) return BlockType::kF16;
    return stored == torch::kBFloat16 ? BlockType::kBF16 : BlockType::kF32;
  }
  const auto* const found = std::ranges::find(kTypes, options.type, &NamedBlockType::name);
  HYPENET_CHECK(found != kTypes.end(),
                "--type: expected auto, f32, f16, bf16, q8_0 or q4_0, found \"", options.type,
                "\"");
  return found->type;
}

/// The model folder that a GGUF file, or another folder, stands for.
void write_folder(const ExportOptions& options) {
  const fs::path& folder = *options.folder;
  check_folder(folder, model_folder_kind());
  Checkpoint checkpoint(options.model);
  const BlockType type = chosen_type(options, checkpoint);
  HYPENET_CHECK(block_layout(type).is_plain, "--type: expected f32, f16 or bf16 for a folder ",
                "(hypenet quantize writes folders of fewer bits), found ", options.type);
  const torch::ScalarType plain = type_of(type);
  ModelConfig config = read_model_config(checkpoint, print_note);
  check_tensors(checkpoint, config);
  config.torch_dtype = type_name(plain);
  CheckpointContents contents{.config = to_json(config), .companions_from = options.model};
  for (const std::string& name : checkpoint.names()) {
    const bool is_float = is_float_always(name, config);
    contents.tensors.emplace_back(name,
                                  checkpoint.tensor(name).to(is_float ? torch::kFloat32 : plain));
  }
  contents.run = run_record(
      {.name = "export", .settings = {{"type", options.type}}, .parents = {options.model}});
  write_checkpoint(folder, contents);
}

/// The keys of the model and of its tokenizer, where it has one.
GgufKeyList make_keys(const ExportOptions& options, const Json& config, const GgufHead& head) {
  GgufKeyList keys;
  add_model_keys(config, head, keys);
  keys.add_text("general.type", "model");
  keys.add_text("general.name", model_name(options.model));
  if (ModelFiles(options.model).has("tokenizer.json")) {
    add_tokenizer_keys(options.model, {head.architecture, config, head.sizes.vocab_size},
                       print_note, keys);
  } else {
    print_note(concat(model_file_place(options.model, "tokenizer.json"),
                      ": none; the GGUF file has no tokenizer"));
  }
  return keys;
}

void write_gguf(const ExportOptions& options) {
  const Checkpoint checkpoint(options.model);
  check_outputs({{"--gguf", options.gguf}}, checkpoint.paths());
  const BlockType type = chosen_type(options, checkpoint);
  const ModelConfig config = read_model_config(checkpoint, print_note);
  check_tensors(checkpoint, config);
  const Json keys_of_config = to_json(config);
  const GgufHead head = gguf_head(keys_of_config);
  const GgufKeyList keys = make_keys(options, keys_of_config, head);
  Progress progress;
  interrupt_flag();
  write_gguf(*options.gguf, checkpoint, head, keys, type, [&](int64_t written, int64_t all) {
    throw_if_interrupted();
    progress.show(
        fmt::format("export: {} of {} written", readable_bytes(written), readable_bytes(all)));
  });
}

/// What would fail only once something is written.
void check_forms(const ExportOptions& options) {
  HYPENET_CHECK(options.folder || options.gguf || options.transformers,
                "export: expected --gguf, --folder or --transformers, found none; see hypenet "
                "export --help");
  check_outputs({{"--gguf", options.gguf}});
  for (const auto& [flag, folder] :
       {std::pair{"--folder", options.folder}, {"--transformers", options.transformers}}) {
    std::error_code ignored;
    const bool is_model = folder && fs::equivalent(*folder, options.model, ignored);
    HYPENET_CHECK(!is_model, flag, ": expected another folder than the model's, found ",
                  options.model.string());
  }
}

void export_model(const ExportOptions& options) {
  check_forms(options);
  if (options.folder) write_folder(options);
  if (options.gguf) write_gguf(options);
  if (options.transformers) write_transformers_folder(options.model, *options.transformers);
  tell_written("export", {{"--folder", options.folder},
                          {"--gguf", options.gguf},
                          {"--transformers", options.transformers}});
}

}  // namespace

void add_export_command(CLI::App& app) {
  const auto options = std::make_shared<ExportOptions>();
  CLI::App* command = app.add_subcommand("export", "write a model in a form of other programs");
  command->add_option("DIR", options->model, "model folder, or a GGUF file")->required();
  command->add_option("--gguf", options->gguf,
                      "a GGUF file to write: of a Llama, Qwen2 or Qwen3 for llama.cpp as well, of "
                      "a HypeNet for this program alone");
  command->add_option("--folder", options->folder, "a model folder to write, as of a GGUF file");
  command->add_option("--transformers", options->transformers,
                      "a folder to write that transformers loads, with a model card");
  command
      ->add_option("--type", options->type,
                   "f32, f16, bf16, q8_0 or q4_0 (of a folder one of the first three), or auto: "
                   "the type that most of the weights are stored in")
      ->capture_default_str();
  command->footer(
      "Examples:\n"
      "  hypenet export out/tiny/model --gguf out/tiny.gguf --type q8_0\n"
      "  hypenet export smollm2.gguf --folder out/smollm2\n"
      "  hypenet export out/tiny/model --transformers out/tiny-hypenet");
  command->callback([options] { export_model(*options); });
}

}  // namespace hypenet
