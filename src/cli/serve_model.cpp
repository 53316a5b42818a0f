// Engines, tokenizer, template and fingerprints of a model folder.
#include "cli/serve_model.h"

#include <fmt/format.h>

#include <ctime>
#include <utility>

#include "base/crc32c.h"
#include "base/version.h"
#include "data/token_shard.h"
#include "engine/generation_config.h"
#include "serve/text/answer_text.h"
#include "text/stop_ids.h"

namespace hypenet {
namespace {

/// Raised when the same model, tokens and settings give other bits than before.
constexpr int64_t kNumerics = 2;

/// 64-bit FNV-1a of a text, in hex: tells models of one user apart, and is no seal.
std::string fingerprint_of(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3ULL;
  return fmt::format("{:016x}", hash);
}

/// Of the config and of every tensor's name, type, shape and checksum.
std::string model_fingerprint(const Checkpoint& checkpoint, const ModelConfig& config) {
  std::string text = write_fields(config).dump();
  for (const std::string& name : checkpoint.names()) {
    const Tensor tensor = checkpoint.tensor(name).contiguous();
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(tensor.const_data_ptr()),
                                           static_cast<size_t>(tensor.nbytes()));
    text += concat('\n', name, ' ', tensor.scalar_type(), ' ', tensor.sizes(), ' ', crc32c(bytes));
  }
  return fingerprint_of(text);
}

std::vector<Engine> open_engines(const ServeModelOptions& options, const Checkpoint& checkpoint) {
  std::vector<std::string> devices = options.devices;
  if (devices.empty()) devices.push_back(options.model.device.device);
  std::vector<Engine> engines;
  for (const std::string& device : devices) {
    ModelOptions model = options.model;
    model.device.device = device;
    engines.emplace_back(open_model(model, checkpoint), options.engine);
  }
  return engines;
}

/// The folder's template; none where it has none, and completions alone are served.
std::optional<ChatTemplate> find_template(const ServeModelOptions& options) {
  if (!options.template_name.empty()) return ChatTemplate::named(options.template_name);
  if (!ChatTemplate::is_in(options.model.folder)) return std::nullopt;
  return ChatTemplate::load(options.model.folder);
}

void set_tools(const ServeModelOptions& options, ServedFolder& served) {
  if (!served.chat) return;
  const bool is_asked = !options.tool_format.empty();
  served.tool_format = is_asked ? tool_format(options.tool_format) : tool_format_of(*served.chat);
  served.puts_tools_in_system =
      is_asked && served.tool_format == ToolFormat::kHermes && !served.chat->reads_tools();
}

SessionFacts session_facts(const ServedFolder& served, const Engine& engine,
                           const EngineOptions& options, const std::string& model,
                           const std::string& device) {
  const EngineStats stats = engine.stats();
  return {.model = model,
          .tokenizer = vocabulary_fingerprint(served.tokenizer),
          .cache_type = concat(stats.page_bytes, " bytes a page"),
          .state_type = concat(stats.state_bytes, " bytes a snapshot"),
          .grid = concat("chunk ", engine.options().prefill_chunk, ", least ", options.grid_min),
          .device = device,
          .numerics = kNumerics,
          .page_tokens = options.page_tokens};
}

}  // namespace

OpenedModel open_served(const ServeModelOptions& options) {
  const Checkpoint checkpoint(options.model.folder);
  std::vector<Engine> engines = open_engines(options, checkpoint);
  Engine& engine = engines.front();
  ServedModel model;
  model.name = options.name.empty() ? model_name(options.model.folder) : options.name;
  model.created = std::time(nullptr);
  model.vocab_size = engine.config().vocab_size;
  model.defaults = read_generation_config(options.model.folder, {.temperature = 1});
  model.context_length = engine.longest_sequence();
  for (Engine& one : engines) {
    one.warm_up();
    model.context_length = std::min(model.context_length, one.longest_sequence());
  }
  ServedFolder served{.model = std::move(model),
                      .tokenizer = open_tokenizer(options.model.folder, engine.config()),
                      .chat = find_template(options)};
  for (int64_t id = 0; id < served.tokenizer.vocab_size(); ++id) {
    served.longest_token = std::max(
        served.longest_token, std::ssize(served.tokenizer.token_bytes(static_cast<int32_t>(id))));
  }
  served.grid = {engine.options().prefill_chunk, engine.options().grid_min};
  served.specials_in_messages = options.specials_in_messages;
  served.has_reasoning = has_reasoning(served.tokenizer);
  set_tools(options, served);
  served.stop_ids = stop_ids(checkpoint, served.tokenizer);
  served.chat_stop_ids =
      served.chat ? chat_stop_ids(checkpoint, served.tokenizer, *served.chat) : served.stop_ids;
  const std::string device = torch::DeviceTypeName(engine.device().type(), true);
  SessionFacts facts = session_facts(served, engine, engine.options(),
                                     model_fingerprint(checkpoint, engine.config()), device);
  served.fingerprint = concat("hn-", fingerprint_of(write_fields(facts).dump()).substr(0, 12));
  OpenedModel opened{std::move(engines), std::move(served), std::move(facts)};
  return opened;
}

}  // namespace hypenet
