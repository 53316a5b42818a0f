// Engines, tokenizer, template and fingerprints of a model folder.
#include "cli/serve_model.h"

#include <ctime>
#include <utility>

#include "base/crc32c.h"
#include "base/fnv1a.h"
#include "base/version.h"
#include "data/token_shard.h"
#include "engine/generation_config.h"
#include "engine/tensor_bytes.h"
#include "model/forward_facts.h"
#include "serve/text/answer_text.h"
#include "text/stop_ids.h"

namespace hypenet {
namespace {

/// Raised when the same model, tokens and settings give other bits than before.
constexpr int64_t kNumerics = 4;

std::string fingerprint_of(std::string_view text) {
  Fnv1a hash;
  hash.add(text);
  return hash.hex();
}

/// A few pages of a tensor: what was trained differs in all of them, and start-up need not read it
/// whole.
uint32_t sum_of_samples(std::span<const std::byte> bytes) {
  constexpr size_t kSamples = 16, kBytes = 4096;
  if (bytes.size() <= kSamples * kBytes) return crc32c(bytes);
  uint32_t sum = 0;
  for (size_t i = 0; i < kSamples; ++i) {
    sum = crc32c(bytes.subspan((bytes.size() - kBytes) / (kSamples - 1) * i, kBytes), sum);
  }
  return sum;
}

/// Of the config and of every tensor's name, type, shape and checksum, whole or of samples.
std::string model_fingerprint(const Checkpoint& checkpoint, const ModelConfig& config,
                              bool is_whole) {
  std::string text = forward_facts(config).dump();
  for (const std::string& name : checkpoint.names()) {
    for (const Tensor& stored : checkpoint.stored(name)) {
      const Tensor tensor = stored.contiguous();
      const auto bytes = bytes_of(tensor);
      text += concat('\n', name, ' ', tensor.scalar_type(), ' ', tensor.sizes(), ' ',
                     is_whole ? crc32c(bytes) : sum_of_samples(bytes));
    }
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

}  // namespace

SessionFacts session_facts(const Engine& engine, const Tokenizer& tokenizer) {
  const EngineStats stats = engine.stats();
  const EngineOptions& options = engine.options();
  std::string device = torch::DeviceTypeName(engine.device().type(), true);
  if (const auto packed = engine.packed_arithmetic(); !packed.empty()) device += ", " + packed;
  return {.model = {},
          .tokenizer = vocabulary_fingerprint(tokenizer),
          .cache_type = concat(stats.page_bytes, " bytes a page"),
          .state_type = concat(stats.state_bytes, " bytes a snapshot"),
          .grid = concat("chunk ", options.prefill_chunk, ", least ", options.grid_min),
          .device = std::move(device),
          .numerics = kNumerics,
          .page_tokens = options.page_tokens};
}

std::string weights_fingerprint(const Checkpoint& checkpoint, const ModelConfig& config) {
  return model_fingerprint(checkpoint, config, true);
}

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
  model.trained_length = engine.config().max_position_embeddings;
  // Without recurrent layers a model is of no use beyond it, and clients take what they are told.
  const bool is_transformer = engine.stats().state_bytes == 0;
  if (is_transformer && options.engine.max_context == 0 && model.trained_length > 0) {
    model.context_length = std::min(model.context_length, model.trained_length);
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
  SessionFacts facts = session_facts(engine, served.tokenizer);
  facts.model = model_fingerprint(checkpoint, engine.config(), false);
  served.fingerprint = concat("hn-", fingerprint_of(write_fields(facts).dump()).substr(0, 12));
  facts.model = options.sums_weights ? weights_fingerprint(checkpoint, engine.config()) : "";
  OpenedModel opened{std::move(engines), std::move(served), std::move(facts)};
  return opened;
}

}  // namespace hypenet
