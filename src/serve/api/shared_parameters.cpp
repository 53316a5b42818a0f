// The rows that every endpoint of answers has.
#include <charconv>

#include "serve/api/generation_settings.h"

namespace hypenet {
namespace {

using Settings = GenerationSettings;
using Row = Parameter<Settings>;

constexpr int64_t kMostBiases = 300, kMostStops = 16, kLongestStop = 256, kLongestSalt = 128;
constexpr double kLeast = 1e-6;  // of the engine's numbers that must not be 0

/// A number of SamplingOptions. The engine's least value stands for what is over 0 and below it.
Row sampling_row(const char* name, double SamplingOptions::*member, NumberRange range,
                 const char* fallback, const char* text) {
  return {name, concat("number, ", range.text()), fallback, text,
          [=](const Field& field, Settings& settings, const auto&) {
            const double value = read_number(field, range);
            settings.sampling.*member = range.is_over ? std::max(value, kLeast) : value;
          }};
}

void read_model(const Field& field, Settings&, const ParseContext& context) {
  const std::string& name = read_string(field);
  if (context.model.serves(name)) return;
  throw ApiError("model_not_found",
                 concat("model: expected ", context.model.name, ", found \"",
                        std::string_view(name).substr(0, 100), "\""),
                 field.path);
}

void read_logit_bias(const Field& field, Settings& settings, const ParseContext& context) {
  constexpr NumberRange kRange{-100, 100};
  const Json& biases = read_object(field);
  if (std::ssize(biases) > kMostBiases) {
    throw ApiError(
        "invalid_value",
        concat("logit_bias: expected at most ", kMostBiases, " tokens, found ", biases.size()),
        field.path);
  }
  settings.sampling.logit_bias.clear();
  for (const auto& [token, bias] : biases.items()) {
    int32_t id = -1;
    const char* const end = token.data() + token.size();
    const auto [rest, fault] = std::from_chars(token.data(), end, id);
    if (fault != std::errc() || rest != end || id < 0 || id >= context.model.vocab_size) {
      throw ApiError("invalid_value",
                     concat("logit_bias: expected token ids below ", context.model.vocab_size,
                            ", found \"", std::string_view(token).substr(0, 40), "\""),
                     field.path);
    }
    const double value = read_number({bias, concat("logit_bias.", token)}, kRange);
    settings.sampling.logit_bias.emplace_back(id, static_cast<float>(value));
  }
}

void read_stop(const Field& field, Settings& settings, const ParseContext&) {
  constexpr IntegerRange kBytes{1, kLongestStop};
  settings.stops.clear();
  if (field.value.is_string()) {
    settings.stops.push_back(read_string(field, kBytes));
    return;
  }
  if (!field.value.is_array()) fail_type(field, "a string or an array of strings");
  const size_t count = read_array(field, {0, kMostStops}).size();
  for (size_t i = 0; i < count; ++i) {
    settings.stops.push_back(read_string(field.item(i), kBytes));
  }
}

void read_stream_options(const Field& field, Settings& settings, const ParseContext& context) {
  read_object(field);
  const auto usage = field.find("include_usage"), progress = field.find("include_progress");
  settings.includes_usage = usage && read_boolean(*usage);
  settings.includes_progress = progress && read_boolean(*progress);
  context.ignored.add_others(field, {"include_usage", "include_progress"});
}

void read_schema(const Field& field, ResponseFormat& format, const ParseContext& context) {
  read_object(field);
  format.schema = read_object(required(field, "schema"));
  if (const auto name = field.find("name")) format.name = read_name(*name);
  if (const auto strict = field.find("strict")) format.is_strict = read_boolean(*strict);
  context.ignored.add_others(field, {"name", "schema", "strict", "description"});
}

void read_response_format(const Field& field, Settings& settings, const ParseContext& context) {
  using Kind = ResponseFormat::Kind;
  constexpr std::string_view kTypes[] = {"text", "json_object", "json_schema"};
  read_object(field);
  ResponseFormat format;
  format.kind = static_cast<Kind>(read_choice(required(field, "type"), kTypes));
  if (format.kind == Kind::kJsonSchema) {
    read_schema(required(field, "json_schema"), format, context);
  }
  context.ignored.add_others(field, {"type", "json_schema"});
  settings.response_format = std::move(format);
}

void read_reuse(const Field& field, Settings& settings, const ParseContext&) {
  constexpr std::string_view kModes[] = {"exact", "nearest", "off"};
  settings.reuse = static_cast<ReuseMode>(read_choice(field, kModes));
}

/// Beside the server's own, which no request can take the place of.
void read_cache_salt(const Field& field, Settings& settings, const ParseContext& context) {
  const std::string& own = context.model.cache_salt;
  const std::string& salt = read_string(field, {0, kLongestSalt});
  settings.cache_salt = own.empty() ? salt : concat(own, '\n', salt);
}

Row boolean_row(const char* name, bool Settings::*member, const char* text) {
  return {name, "boolean", "false", text,
          [member](const Field& field, Settings& settings, const auto&) {
            settings.*member = read_boolean(field);
          }};
}

void add_sampling_rows(Parameters<Settings>& rows) {
  using Sampling = SamplingOptions;
  rows.push_back({"temperature", "number, 0 to 2", "`generation_config.json`, else 1",
                  "0: always the likeliest token",
                  [](const Field& field, Settings& settings, const auto&) {
                    settings.sampling.temperature = read_temperature(field, 2);
                  }});
  rows.push_back(sampling_row("top_p", &Sampling::top_p, {0, 1, true},
                              "`generation_config.json`, else 1",
                              "draw from the likeliest tokens of this share"));
  rows.push_back(sampling_row("min_p", &Sampling::min_p, {0, 1}, "`generation_config.json`, else 0",
                              "draw from tokens at least this share as likely as the likeliest"));
  constexpr IntegerRange kTopK{-1, std::numeric_limits<int32_t>::max()};
  rows.push_back({"top_k", "integer, -1 up", "`generation_config.json`, else 0",
                  "draw from so many likeliest tokens; 0 and -1: from all",
                  [=](const Field& field, Settings& settings, const auto&) {
                    settings.sampling.top_k = std::max<int64_t>(read_integer(field, kTopK), 0);
                  }});
  rows.push_back(sampling_row("presence_penalty", &Sampling::presence_penalty, {-2, 2}, "0",
                              "taken from the logits of tokens that the answer has"));
  rows.push_back(sampling_row("frequency_penalty", &Sampling::frequency_penalty, {-2, 2}, "0",
                              "the same for each time that the answer has them"));
  rows.push_back(sampling_row("repetition_penalty", &Sampling::repetition_penalty, {0, 2, true},
                              "`generation_config.json`, else 1",
                              "divides the chances of tokens of prompt and answer (extension)"));
  rows.push_back({"seed", "integer of 64 bits", "drawn, and told in the answer",
                  "choice j draws from seed + j",
                  [](const Field& field, Settings& settings, const auto&) {
                    settings.seed = read_integer(field);
                  }});
  rows.push_back({"logit_bias", concat("object: token id to -100 to 100, at most ", kMostBiases),
                  "none", "added to the logits of these tokens", read_logit_bias});
}

void add_length_rows(Parameters<Settings>& rows) {
  rows.push_back(
      {"stop", concat("string or up to ", kMostStops, " strings of 1 to ", kLongestStop, " bytes"),
       "none", "the answer ends before any of these texts", read_stop});
  rows.push_back({"stop_token_ids", concat("up to ", kMostStops, " token ids"), "none",
                  "the answer ends before any of these tokens (extension)",
                  [](const Field& field, Settings& settings, const ParseContext& context) {
                    settings.stop_ids = read_ids(field, {0, kMostStops}, context.model.vocab_size);
                  }});
  rows.push_back(boolean_row("ignore_eos", &Settings::ignore_eos,
                             "the model's end tokens do not end the answer (extension)"));
  rows.push_back({"min_tokens", "integer, 0 to `max_tokens`", "0",
                  "no token that ends the answer is chosen before so many (extension)",
                  [](const Field& field, Settings& settings, const auto&) {
                    settings.min_tokens = read_integer(field, {.least = 0});
                  }});
  rows.push_back({"n", "integer, 1 to `--max-n` (16)", "1", "so many answers to one prompt",
                  [](const Field& field, Settings& settings, const ParseContext& context) {
                    settings.choices = read_integer(field, {1, context.model.most_choices});
                  }});
}

void add_serving_rows(Parameters<Settings>& rows) {
  rows.push_back(boolean_row("stream", &Settings::streams, "the answer comes as events"));
  rows.push_back({"stream_options", "object: `include_usage`, `include_progress` (booleans)",
                  "both false", "only with `stream`: an event with `usage`, events with progress",
                  read_stream_options});
  rows.push_back({"response_format",
                  "object: `type` `text`, `json_object` or `json_schema` with `json_schema` "
                  "{`name`, `schema`, `strict`}",
                  "`text`", "what the answer's text must be", read_response_format});
  rows.push_back({"reuse", "`exact`, `nearest` or `off`", "`--reuse`",
                  "what may be taken over from earlier prompts (extension)", read_reuse});
  rows.push_back({"cache_salt", concat("string of up to ", kLongestSalt, " bytes"), "none",
                  "prefixes are shared only under the same salt, with `--cache-per-key` also "
                  "only under the same key (extension)",
                  read_cache_salt});
  rows.push_back({"timeout", "number, over 0 to `--request-timeout`", "`--request-timeout` (600)",
                  "seconds until the answer is cut off with `length` (extension)",
                  [](const Field& field, Settings& settings, const ParseContext& context) {
                    settings.timeout = read_number(field, {0, context.model.request_timeout, true});
                  }});
  for (const char* name : {"user", "metadata", "store", "service_tier", "safety_identifier",
                           "prompt_cache_key", "prompt_cache_retention", "verbosity"}) {
    rows.push_back(without_effect<Settings>(name));
  }
}

/// Fields that change what an answer means.
void add_refused_rows(Parameters<Settings>& rows) {
  constexpr const char* kRefused = "else refused: `unsupported_parameter`";
  rows.push_back({"best_of", "integer, equal to `n`", "`n`", kRefused, [](const auto&...) {}});
  rows.push_back({"modalities", "`[\"text\"]`", "`[\"text\"]`", kRefused,
                  [](const Field& field, const auto&...) {
                    if (field.value != Json::array({"text"})) fail_unsupported(field, "others are");
                  }});
  rows.push_back(
      {"suffix", "empty string", "none", kRefused, [](const Field& field, const auto&...) {
         if (!read_string(field).empty()) fail_unsupported(field, "it is");
       }});
  for (const char* name :
       {"functions", "function_call", "audio", "prediction", "web_search_options"}) {
    rows.push_back({name, "null", "none", kRefused,
                    [](const Field& field, const auto&...) { fail_unsupported(field, "it is"); }});
  }
}

Parameters<Settings> make_rows() {
  Parameters<Settings> rows = {{"model", "string", "the served one",
                                "its name or one of its aliases; others: 404 `model_not_found`",
                                read_model}};
  add_sampling_rows(rows);
  add_length_rows(rows);
  add_serving_rows(rows);
  add_refused_rows(rows);
  return rows;
}

}  // namespace

double read_temperature(const Field& field, double most) {
  const double value = read_number(field, {0, most});
  return value < kLeast ? 0 : value;
}

const Parameters<GenerationSettings>& shared_parameters() {
  static const Parameters<GenerationSettings> rows = make_rows();
  return rows;
}

}  // namespace hypenet
