// hypenet export: a model in the forms that other programs read. Each form is an option that names
// what is written.
#include <filesystem>
#include <memory>
#include <optional>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/note.h"
#include "cli/outputs.h"
#include "model/weights.h"
#include "run/run.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;

struct ExportOptions {
  fs::path model;
  std::optional<fs::path> folder = {};
};

/// The model folder that a GGUF file stands for, each tensor in the type that it is stored in
/// (blocks as bfloat16).
void write_folder(const ExportOptions& options) {
  const fs::path& folder = *options.folder;
  check_folder(folder, model_folder_kind());
  const Checkpoint checkpoint = open_rounded(options.model);
  const ModelConfig config = read_model_config(checkpoint, print_note);
  check_tensors(checkpoint, config);
  CheckpointContents contents{.config = to_json(config), .companions_from = options.model};
  for (const std::string& name : checkpoint.names()) {
    contents.tensors.emplace_back(name, checkpoint.tensor(name));
  }
  contents.run = run_record({.name = "export", .parents = {options.model}});
  write_checkpoint(folder, contents);
  tell_written("export", {{"--folder", folder}});
}

void export_model(const ExportOptions& options) {
  HYPENET_CHECK(options.folder.has_value(), "export: expected --folder, found none");
  write_folder(options);
}

}  // namespace

void add_export_command(CLI::App& app) {
  const auto options = std::make_shared<ExportOptions>();
  CLI::App* command = app.add_subcommand("export", "write a model in a form of other programs");
  command->add_option("DIR", options->model, "model folder, or a GGUF file")->required();
  command->add_option("--folder", options->folder, "a model folder to write");
  command->footer("Example:\n  hypenet export smollm2.gguf --folder out/smollm2");
  command->callback([options] { export_model(*options); });
}

}  // namespace hypenet
