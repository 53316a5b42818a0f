// hypenet logits: the model's logits for given token ids, for comparing with other implementations.
#include <charconv>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/length_warning.h"
#include "cli/model_folder.h"
#include "store/safetensors.h"

namespace hypenet {
namespace {

struct LogitsCommand {
  ModelOptions model;
  std::string ids;
  std::filesystem::path out;
};

std::vector<int64_t> parse_ids(std::string_view text) {
  std::vector<int64_t> ids;
  const char* next = text.data();
  const char* const end = text.data() + text.size();
  while (next != end || ids.empty()) {
    int64_t id = 0;
    const auto [stop, error] = std::from_chars(next, end, id);
    const bool is_separated = stop == end || (*stop == ',' && stop + 1 != end);
    HYPENET_CHECK(error == std::errc() && is_separated,
                  "--ids: expected token ids separated by commas, found \"", text, "\"");
    ids.push_back(id);
    next = stop == end ? end : stop + 1;
  }
  return ids;
}

void write_logits(const LogitsCommand& command) {
  const std::vector<int64_t> ids = parse_ids(command.ids);
  const Checkpoint checkpoint(command.model.folder);
  CausalLm model = open_model(command.model, checkpoint);
  const int64_t vocab_size = model->config().vocab_size;
  for (const int64_t id : ids) {
    HYPENET_CHECK(id >= 0 && id < vocab_size, "--ids: expected ids from 0 to ", vocab_size - 1,
                  ", found ", id);
  }
  warn_of_length("--ids", static_cast<int64_t>(ids.size()), model->config());
  const torch::NoGradGuard no_grad;
  model->eval();
  const Tensor tokens = torch::tensor(ids, torch::kInt64).unsqueeze(0);  // [1, T]
  const Tensor logits = model->forward(tokens.to(model->head_weight().device()));
  write_safetensors(command.out, {{"logits", logits[0].to(torch::kFloat32)}});
}

}  // namespace

void add_logits_command(CLI::App& app) {
  const auto options = std::make_shared<LogitsCommand>();
  CLI::App* command = app.add_subcommand("logits", "write the logits of given token ids to a file");
  add_model_options(*command, options->model);
  command->add_option("--ids", options->ids, "token ids: 1,2,3")->required();
  command->add_option("--out", options->out, "file to write: tensor logits [T, V], float32")
      ->required();
  command->footer("Example:\n  hypenet logits teacher --ids 1,2,3 --out logits.safetensors");
  command->callback([options] { write_logits(*options); });
}

}  // namespace hypenet
