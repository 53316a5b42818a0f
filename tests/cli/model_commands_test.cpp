// inspect, logits and generate on a small model with random weights.
#include <gmock/gmock.h>

#include <csignal>
#include <regex>
#include <sstream>

#include "engine/engine.h"
#include "model/weights.h"
#include "store/checkpoint.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/model_folder.h"
#include "tests/support/program.h"
#include "tests/support/refusal.h"
#include "tests/support/wait_until.h"
#include "text/tokenizer.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_support::expect_error_line;
using testing_support::ProgramResult;
using testing_support::run_program;

class ModelCommands : public testing::Test {
 protected:
  ModelCommands() { testing_support::write_byte_model(folder()); }

  fs::path folder() const { return root_ / "model"; }

  CausalLm model() const { return load_model(Checkpoint(folder())); }

  std::vector<int32_t> continuation(const std::string& prompt, int64_t tokens) const {
    GenerateOptions options;
    options.max_tokens = tokens;
    options.stop_ids = {256};
    return Engine(model()).generate(Tokenizer::load(folder()).encode(prompt), options);
  }

  TemporaryFolder root_;
};

TEST_F(ModelCommands, inspect_counts_what_the_model_has) {
  const ProgramResult result = run_program({"inspect", folder().string(), "--json"});
  ASSERT_EQ(result.code, 0) << result.error;
  const Json json = Json::parse(result.out);
  int64_t total = 0, attention = 0, lightning = 0;
  for (const auto& [name, tensor] : named_weights(*model(), torch::kFloat32)) {
    total += tensor.numel();
    if (name.find(".self_attn.") == std::string::npos) continue;
    (name.find("layers.1.") != std::string::npos ? attention : lightning) += tensor.numel();
  }
  EXPECT_EQ(json["architecture"], "HypeNet");
  EXPECT_EQ(json["parameters"]["total"], total);
  EXPECT_EQ(json["parameters"]["embedding"], 264 * 32);
  EXPECT_EQ(json["parameters"]["non_embedding"], total - 264 * 32);
  EXPECT_EQ(json["parameters"]["mixers"]["attn"], attention);
  EXPECT_EQ(json["parameters"]["mixers"]["lightning-attn"], lightning);
  // One attention layer: keys and values of 2 heads of 16, float32 as the weights. Two states of
  // 4 heads, float32.
  EXPECT_EQ(json["cache"][0]["tokens"], 4096);
  EXPECT_EQ(json["cache"][0]["key_value_bytes"], 4096 * 2 * 2 * 16 * 4);
  EXPECT_EQ(json["cache"][0]["state_bytes"], 2 * 4 * 16 * 16 * 4);
  EXPECT_EQ(json["cache"][2]["all_attention_bytes"], 3 * int64_t{1048576} * 2 * 2 * 16 * 4);
  EXPECT_EQ(json["files"][0]["name"], "model.safetensors");
  EXPECT_EQ(json["files"][0]["bytes"], fs::file_size(folder() / "model.safetensors"));
  EXPECT_GT(json["files"][0]["tensors"]["float32"], 0);
}

TEST_F(ModelCommands, inspect_reads_well) {
  const ProgramResult result = run_program({"inspect", folder().string()});
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.out, AllOf(HasSubstr("mixers: 0 lightning-attn, 1 attn, 2 lightning-attn"),
                                HasSubstr("in 2 lightning-attn mixers"), HasSubstr("128K"),
                                HasSubstr("all layers attention"), HasSubstr("model.safetensors")));
}

TEST_F(ModelCommands, inspect_tells_the_layers_of_a_published_hybrid) {
  const std::string hybrid = HYPENET_TEST_DATA "/models/qwen3.5";
  const ProgramResult result = run_program({"inspect", hybrid});
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(result.error, "");
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("Qwen3.5: 4 layers, hidden size 48, 4 heads (2 for keys"),
                    HasSubstr("mixers: 0-2 gdn, 3 attn"), HasSubstr("in 3 gdn mixers")));
}

TEST_F(ModelCommands, inspect_counts_the_cache_in_the_types_that_run) {
  const std::string teacher = HYPENET_SOURCE "/models/tiny-teacher";  // bfloat16
  const ProgramResult result = run_program({"inspect", teacher, "--json"});
  ASSERT_EQ(result.code, 0) << result.error;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json["cache_types"], (Json{{"keys_and_values", "bfloat16"}, {"states", "float32"}}));
  const auto types_of = [](const fs::path& place, torch::ScalarType type) {
    const Checkpoint checkpoint(place);
    CausalLm model = load_model(checkpoint, read_model_config(checkpoint), type, torch::kCPU);
    return std::pair(page_bytes(model->config(), model->memory_types(), 4096),
                     slot_bytes(model->config(), model->memory_types()));
  };
  EXPECT_EQ(json["cache"][0]["key_value_bytes"], types_of(teacher, torch::kBFloat16).first);
  const Json plain = Json::parse(run_program({"inspect", folder().string(), "--json"}).out);
  const auto [cache, states] = types_of(folder(), torch::kFloat32);
  EXPECT_EQ(plain["cache"][0]["key_value_bytes"], cache);
  EXPECT_EQ(plain["cache"][0]["state_bytes"], states);
  EXPECT_THAT(run_program({"inspect", teacher}).out,
              HasSubstr("cache of one sequence (keys and values bfloat16, states float32):"));
}

TEST(QuantisedFolders, inspect_names_the_method_and_counts_the_matrices) {
  const std::string folder = HYPENET_TEST_DATA "/quantised-models/llama3-pack";
  EXPECT_THAT(run_program({"inspect", folder}).out,
              HasSubstr("quantisation              compressed-tensors: 14 matrices int4 in groups "
                        "of 16 columns\n"));
  const Json json = Json::parse(run_program({"inspect", folder, "--json"}).out);
  EXPECT_EQ(json["quantisation"]["method"], "compressed-tensors");
  EXPECT_EQ(json["quantisation"]["matrices"]["int4 in groups of 16 columns"], 14);
  EXPECT_EQ(json["parameters"]["total"], 59712);
}

TEST_F(ModelCommands, quantisation_that_is_not_read_is_one_line) {
  Json config = read_json(folder() / "config.json");
  config["quantization_config"] = {{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}};
  write_json(folder() / "config.json", config);
  const std::string place = (folder() / "config.json").string();
  expect_error_line(run_program({"generate", folder().string(), "--prompt", "a"}),
                    place +
                        ": quantization_config: quant_method: expected fp8, gptq, awq or "
                        "compressed-tensors, found bitsandbytes");
}

TEST_F(ModelCommands, inspect_tells_what_the_config_and_the_tokenizer_say) {
  Json config = read_json(folder() / "config.json");
  config["attn_logits_scaling"] = "hype 7";
  config["max_position_embeddings"] = 4096;
  write_json(folder() / "config.json", config);
  write_json(folder() / "generation_config.json", {{"eos_token_id", {256, 10}}});
  write_file(folder() / "chat_template.jinja", "{{ messages | shuffle }}");
  const ProgramResult text = run_program({"inspect", folder().string()});
  ASSERT_EQ(text.code, 0) << text.error;
  for (const char* line :
       {"vocabulary                264\n", "context length            4,096 tokens\n",
        "RoPE base                 10000, in lightning-attn layers\n",
        "biases                    none\n", "attention logits scaling  hype 7\n",
        "end of text               10 \n, 256 <|endoftext|>\n",
        "tokenizer                 byte-level BPE, 257 tokens\n",
        "chat_template.jinja:1:15: expected a known filter, found \"shuffle\""}) {
    EXPECT_THAT(text.out, HasSubstr(line));
  }
  write_file(folder() / "chat_template.jinja", "");
  fs::remove(folder() / "tokenizer.json");
  const ProgramResult result = run_program({"inspect", folder().string(), "--json"});
  ASSERT_EQ(result.code, 0) << result.error;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json["vocab_size"], 264);
  EXPECT_EQ(json["max_position_embeddings"], 4096);
  EXPECT_EQ(json["attn_logits_scaling"], "hype 7");
  EXPECT_EQ(json["biases"], Json::array());
  EXPECT_EQ(json["tokenizer"], nullptr);
  EXPECT_EQ(json["chat_template"], nullptr);
}

TEST_F(ModelCommands, inspect_says_how_to_chat_without_a_template) {
  fs::remove(folder() / "chat_template.jinja");
  const ProgramResult text = run_program({"inspect", folder().string()});
  ASSERT_EQ(text.code, 0) << text.error;
  EXPECT_THAT(text.out, HasSubstr("chat template             none (chat with --template none)\n"));
}

TEST_F(ModelCommands, inspect_tells_where_turns_part) {
  const auto inspected = [&](const std::string& chat) {
    write_file(folder() / "chat_template.jinja", chat);
    const std::string text = run_program({"inspect", folder().string()}).out;
    const size_t at = text.find("reuse between turns ");
    EXPECT_NE(at, std::string::npos);
    return text.substr(at, text.find('\n', at) - at);
  };
  const std::string plain = "{% for m in messages %}<{{ m.content }}>{% endfor %}";
  EXPECT_EQ(inspected(plain), "reuse between turns       whole turns");
  // 13 bytes of a question, 11 of an answer: a token each.
  EXPECT_EQ(inspected("{{ messages | length }}" + plain),
            "reuse between turns       turn 2 begins with 0 of 25 tokens of turn 1, up to \"\"; "
            "turn 3 begins with 0 of 49 tokens of turn 2, up to \"\"");
  const Json json = Json::parse(run_program({"inspect", folder().string(), "--json"}).out);
  EXPECT_EQ(json["turn_prefixes"][1],
            (Json{{"turn", 2}, {"tokens", 49}, {"shared", 0}, {"end", ""}}));
  EXPECT_EQ(inspected("{{ 1 }}"),
            "reuse between turns       unknown without tokenizer and chat template");
}

TEST_F(ModelCommands, logits_are_those_of_the_model) {
  const fs::path file = root_ / "logits.safetensors";
  const ProgramResult result =
      run_program({"logits", folder().string(), "--ids", "3,1,200,7", "--out", file.string()});
  ASSERT_EQ(result.code, 0) << result.error;
  const Tensor logits = SafetensorsFile(file).tensor("logits");
  EXPECT_EQ(logits.scalar_type(), torch::kFloat32);
  const torch::NoGradGuard no_grad;
  const Tensor expected = model()->forward(torch::tensor({{3, 1, 200, 7}}, torch::kInt64))[0];
  EXPECT_TRUE(torch::allclose(logits, expected, 1e-5, 1e-6));
}

TEST_F(ModelCommands, logits_in_other_types_stay_near) {
  const fs::path first = root_ / "first", second = root_ / "second", third = root_ / "third";
  for (const auto& [file, type] :
       {std::pair(first, "float32"), std::pair(second, "bfloat16"), std::pair(third, "float64")}) {
    const ProgramResult result = run_program(
        {"logits", folder().string(), "--ids", "3,1,200", "--out", file.string(), "--dtype", type});
    ASSERT_EQ(result.code, 0) << result.error;
  }
  const Tensor plain = SafetensorsFile(first).tensor("logits");
  const Tensor coarse = SafetensorsFile(second).tensor("logits");
  const Tensor fine = SafetensorsFile(third).tensor("logits");
  EXPECT_LT((fine - plain).abs().max().item<float>(), 1e-5);
  EXPECT_GT((coarse - plain).abs().max().item<float>(), 0);
  EXPECT_LT(((coarse - plain).norm() / plain.norm()).item<float>(), 0.05);
}

TEST_F(ModelCommands, logits_have_the_scaling_that_is_asked_for) {
  const fs::path file = root_ / "logits.safetensors";
  Json config = read_json(folder() / "config.json");
  config["attn_logits_scaling"] = "hype 7";
  write_json(folder() / "config.json", config);
  CausalLm scaled = model();
  const torch::NoGradGuard no_grad;
  const auto expected = [&](const LogitsScaling& scaling) {
    scaled->prepare({.logits_scaling = scaling});
    return scaled->forward(torch::tensor({{3, 1, 200, 7}}, torch::kInt64))[0];
  };
  using Kind = LogitsScaling::Kind;
  const std::vector<std::pair<std::string, LogitsScaling>> asked = {
      {"", {Kind::kLogPosition, 7}},  // config.json's
      {"none", {}},
      {"1.5", {Kind::kConstant, 1.5}},
      {"hype 20", {Kind::kLogPosition, 20}}};
  for (const auto& [text, scaling] : asked) {
    std::vector<std::string> command = {"logits",    folder().string(), "--ids",
                                        "3,1,200,7", "--out",           file.string()};
    if (!text.empty()) command.insert(command.end(), {"--attn-logits-scaling", text});
    const ProgramResult result = run_program(command);
    ASSERT_EQ(result.code, 0) << result.error;
    const Tensor logits = SafetensorsFile(file).tensor("logits");
    EXPECT_TRUE(torch::equal(logits, expected(scaling))) << text;
    EXPECT_FALSE(torch::equal(logits, expected({Kind::kLogPosition, 4}))) << text;
  }
}

TEST_F(ModelCommands, logits_reject_bad_ids) {
  const std::string file = (root_ / "x").string();
  const auto refused = [](const std::vector<std::string>& arguments) {
    return testing_support::refusal(add_logits_command, arguments);
  };
  for (const std::string ids : {"", " ", "1,,2", "1,", ",1", "one", "1x", "1;2", "[1", "1.5"}) {
    expect_error_line(refused({"logits", folder().string(), "--ids", ids, "--out", file}),
                      "--ids: ");
  }
  for (const std::string ids : {"1,264", "-1"}) {
    expect_error_line(refused({"logits", folder().string(), "--ids=" + ids, "--out", file}),
                      "--ids: expected ids from 0 to 263, found ");
  }
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(ModelCommands, logits_take_ids_as_people_write_them_and_text) {
  const fs::path file = root_ / "logits.safetensors";
  const auto logits = [&](const std::string& option, const std::string& value) {
    const ProgramResult result =
        run_program({"logits", folder().string(), option, value, "--out", file.string()});
    EXPECT_EQ(result.code, 0) << result.error;
    EXPECT_EQ(result.out, file.string() + ": logits [3, 264], float32, of the ids 65,98,32\n");
    return SafetensorsFile(file).tensor("logits").clone();
  };
  const Tensor expected = logits("--ids", "65,98,32");
  for (const std::string ids : {"65, 98, 32", "65 98 32", "[65, 98, 32]", " 65 ,98\t32 "}) {
    EXPECT_TRUE(torch::equal(logits("--ids", ids), expected)) << ids;
  }
  EXPECT_TRUE(torch::equal(logits("--prompt", "Ab "), expected));
  const ProgramResult piped = testing_support::run_program_with_input(
      {"logits", folder().string(), "--prompt", "-", "--out", file.string()}, "Ab \n");
  EXPECT_EQ(piped.code, 0) << piped.error;
  EXPECT_TRUE(torch::equal(SafetensorsFile(file).tensor("logits"), expected));
  expect_error_line(run_program({"logits", folder().string(), "--out", file.string()}),
                    "logits: expected --ids 1,2,3 or --prompt TEXT, found neither");
  expect_error_line(run_program({"logits", folder().string(), "--ids", "1", "--out",
                                 (root_ / "no" / "x").string()}),
                    "no");
}

TEST_F(ModelCommands, types_have_their_other_names) {
  const fs::path file = root_ / "logits.safetensors";
  for (const std::string type : {"bf16", "fp32", "F32", "float", "double", "torch.bfloat16"}) {
    EXPECT_EQ(run_program({"logits", folder().string(), "--ids", "3", "--out", file.string(),
                           "--dtype", type})
                  .code,
              0)
        << type;
  }
  expect_error_line(run_program({"logits", folder().string(), "--ids", "3", "--out", file.string(),
                                 "--dtype", "half"}),
                    "found \"half\"; nothing is computed in float16, and bfloat16 has its size");
}

TEST_F(ModelCommands, devices_and_types_that_are_not_there_are_errors) {
  const auto run = [&](const std::string& option, const std::string& value) {
    return run_program({"generate", folder().string(), "--prompt", "x", option, value});
  };
  expect_error_line(run("--device", "tpu"), "--device: expected cpu, cuda or cuda:N");
  expect_error_line(run("--device", "cuda:x"), "--device: expected cpu, cuda or cuda:N");
  expect_error_line(run("--dtype", "int8"), "--dtype: expected auto, float32, bfloat16 or float64");
  expect_error_line(run("--threads", "-2"), "--threads: expected");
  expect_error_line(run("--device", "cuda:99"), "--device cuda:99: expected");
}

TEST_F(ModelCommands, generate_prints_the_greedy_continuation) {
  const ProgramResult result =
      run_program({"generate", folder().string(), "--prompt", "Once upon", "--tokens", "20"});
  ASSERT_EQ(result.code, 0) << result.error;
  const Tokenizer tokenizer = Tokenizer::load(folder());
  EXPECT_EQ(result.out, tokenizer.decode(continuation("Once upon", 20), true) + "\n");
  EXPECT_THAT(result.error, IsEmpty());
}

TEST_F(ModelCommands, generate_draws_the_same_with_the_same_seed) {
  const auto text = [&](const std::string& seed) {
    return run_program({"generate", folder().string(), "--prompt", "Once", "--tokens", "30",
                        "--temperature", "1", "--seed", seed})
        .out;
  };
  const std::string first = text("1");
  EXPECT_EQ(first, text("1"));
  EXPECT_NE(first, text("2"));
}

TEST_F(ModelCommands, generate_stops_at_each_eos_of_a_list) {
  const std::vector<int32_t> all = continuation("Once upon", 20);
  ASSERT_GT(all.size(), 3U);
  const int32_t stop = all[all.size() / 2];
  const auto count = std::find(all.begin(), all.end(), stop) - all.begin();
  const std::vector<int32_t> expected(all.begin(), all.begin() + count);
  for (const Json& ids : {Json(stop), Json({255, stop})}) {
    write_json(folder() / "generation_config.json", {{"eos_token_id", ids}});
    const ProgramResult result =
        run_program({"generate", folder().string(), "--prompt", "Once upon", "--tokens", "20"});
    EXPECT_EQ(result.out, Tokenizer::load(folder()).decode(expected, true) + "\n") << result.error;
  }
  write_json(folder() / "generation_config.json", {{"eos_token_id", "x"}});
  expect_error_line(run_program({"generate", folder().string(), "--prompt", "x"}),
                    "generation_config.json: eos_token_id: expected an integer");
}

TEST_F(ModelCommands, generate_rejects_bad_requests) {
  const auto run = [&](const std::string& prompt, const std::string& option,
                       const std::string& value) {
    return run_program({"generate", folder().string(), "--prompt", prompt, option + "=" + value});
  };
  expect_error_line(run("", "--tokens", "1"), "--prompt: expected some text");
  expect_error_line(run("x", "--tokens", "0"), "--tokens: expected at least 1");
  expect_error_line(run("x", "--temperature", "-1"),
                    "--temperature: expected 0, or 1e-06 to 1e+06");
  expect_error_line(run("x", "--top-p", "0"), "--top-p: expected 1e-06 to 1");
  expect_error_line(run("x", "--context", "-1"), "--context: expected 0 to");
  expect_error_line(run("x", "--memory", "1K"), "engine: memory: expected at least ");
  expect_error_line(run("x", "--memory", "1K"), " KiB), found 1.0 KiB");
  expect_error_line(run("a long prompt", "--context", "8"),
                    "prompt: expected at most 7 tokens, which leave one for the answer of "
                    "--context 8, found 13; a larger --context takes it");
  expect_error_line(run("x", "--seed", "-1"), "--seed: expected an integer of 0 to ");
  expect_error_line(run("x", "--seed", "1"), "--seed: has no effect at temperature 0");
  expect_error_line(run("x", "--prompt-file", "f"), "--prompt-file");
}

TEST_F(ModelCommands, an_answer_ends_with_the_context) {
  const Tokenizer tokenizer = Tokenizer::load(folder());
  const std::vector<int32_t> seven = continuation("x", 7);
  ASSERT_EQ(seven.size(), 7U);
  const ProgramResult result =
      run_program({"generate", folder().string(), "--prompt", "x", "--context", "8"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, tokenizer.decode(seven, true) + "\n");
  EXPECT_EQ(result.error, "hypenet: the answer ends before --tokens, at the end of --context 8\n");
  const ProgramResult asked = run_program(
      {"generate", folder().string(), "--prompt", "x", "--context", "8", "--tokens", "7"});
  EXPECT_EQ(asked.out, result.out);
  EXPECT_THAT(asked.error, IsEmpty());
}

TEST_F(ModelCommands, generate_reads_prompts_from_a_pipe) {
  const Tokenizer tokenizer = Tokenizer::load(folder());
  const auto answer = [&](const std::string& prompt) {
    return tokenizer.decode(continuation(prompt, 6), true) + "\n";
  };
  const auto run = [&](const std::string& option, const std::string& text) {
    return testing_support::run_program_with_input(
        {"generate", folder().string(), option, "-", "--tokens", "6"}, text);
  };
  EXPECT_EQ(run("--prompt", "Once\nupon\n").out, answer("Once\nupon"));
  EXPECT_EQ(run("--prompt-file", "Once\nupon\n").out, answer("Once") + answer("upon"));
  EXPECT_EQ(run("--prompt-file", "{\"prompt\": \"Once\\nupon\"}\n{\"prompt\": \"x\"}\n").out,
            answer("Once\nupon") + answer("x"));
  expect_error_line(run("--prompt", "\n"), "standard input: expected some text, found none");
  expect_error_line(run("--prompt-file", ""), "standard input: expected a prompt a line");
  expect_error_line(run("--prompt-file", "a\n\n"), "standard input:2: expected a prompt");
}

TEST_F(ModelCommands, generate_answers_the_lines_of_a_file_in_their_order) {
  const std::vector<std::string> prompts = {"Once upon", "x", "The sun is a star.", "Hm \xC3\xA9"};
  std::string lines, expected;
  const Tokenizer tokenizer = Tokenizer::load(folder());
  for (const std::string& prompt : prompts) {
    lines += prompt + (prompt == "x" ? "\r\n" : "\n");
    expected += tokenizer.decode(continuation(prompt, 12), true) + "\n";
  }
  write_file(root_ / "prompts.txt", lines);
  const ProgramResult result = run_program({"generate", folder().string(), "--prompt-file",
                                            (root_ / "prompts.txt").string(), "--tokens", "12"});
  ASSERT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(result.out, expected);
  EXPECT_THAT(result.error, HasSubstr("of 4 answers\n"));
}

TEST_F(ModelCommands, generate_describes_each_answer_in_a_line_of_json) {
  write_file(root_ / "prompts.txt", "Once upon\nx");
  const ProgramResult result =
      run_program({"generate", folder().string(), "--prompt-file", (root_ / "prompts.txt").string(),
                   "--tokens", "6", "--json"});
  ASSERT_EQ(result.code, 0) << result.error;
  std::istringstream lines(result.out);
  std::string line;
  const Tokenizer tokenizer = Tokenizer::load(folder());
  for (const std::string prompt : {"Once upon", "x"}) {
    ASSERT_TRUE(std::getline(lines, line));
    const Json json = Json::parse(line);
    const std::vector<int32_t> ids = continuation(prompt, 6);
    EXPECT_EQ(json["prompt"], prompt);
    EXPECT_EQ(json["ids"].get<std::vector<int32_t>>(), ids);
    EXPECT_EQ(json["text"], tokenizer.decode(ids, true));
    EXPECT_EQ(json["logprobs"].size(), ids.size());
    for (const Json& logprob : json["logprobs"]) EXPECT_LE(logprob.get<double>(), 0);
    EXPECT_EQ(json["finish_reason"], ids.size() == 6 ? "length" : "stop");
    EXPECT_EQ(json["prompt_tokens"], prompt.size());
    EXPECT_EQ(json["tokens"], ids.size());
    EXPECT_GT(json["seconds"].get<double>(), 0);
    EXPECT_GT(json["tokens_per_second"].get<double>(), 0);
  }
  EXPECT_FALSE(std::getline(lines, line));
}

TEST_F(ModelCommands, generate_rejects_files_without_prompts) {
  const auto run = [&](const std::string& text) {
    write_file(root_ / "prompts.txt", text);
    return run_program(
        {"generate", folder().string(), "--prompt-file", (root_ / "prompts.txt").string()});
  };
  expect_error_line(run("a\nb\n\nc\n"), "prompts.txt:3: expected a prompt, found an empty line");
  expect_error_line(run(""), "prompts.txt: expected a prompt a line, found none");
  expect_error_line(run_program({"generate", folder().string(), "--prompt-file", "no/such"}),
                    "no/such");
  expect_error_line(run_program({"generate", folder().string()}),
                    "generate: expected --prompt TEXT, --prompt-file FILE");
}

TEST_F(ModelCommands, a_vocabulary_larger_than_the_embedding_is_an_error) {
  Json tokenizer = read_json(folder() / "tokenizer.json");
  tokenizer["added_tokens"][0]["id"] = 264;
  write_json(folder() / "tokenizer.json", tokenizer);
  expect_error_line(run_program({"generate", folder().string(), "--prompt", "x"}),
                    "expected at most 264 tokens (config.json: vocab_size), found 265");
}

TEST_F(ModelCommands, ctrl_c_ends_generation_cleanly) {
  // Greedy, because a drawn end of text would come before the signal now and then.
  testing_support::RunningProgram program(
      {"generate", folder().string(), "--prompt", "x", "--tokens", "1000000"});
  ASSERT_TRUE(testing_support::wait_until([&] { return !program.out_so_far().empty(); }));
  ::kill(program.process(), SIGINT);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.code, 130);
  EXPECT_TRUE(result.error.ends_with("hypenet: interrupted\n")) << result.error;
  EXPECT_EQ(result.out.back(), '\n');
}

}  // namespace
}  // namespace hypenet
