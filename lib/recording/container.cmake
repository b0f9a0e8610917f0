lucid_library(recording_container
  SOURCES bundle.cpp bundle_layout.cpp bundle_verify.cpp chunk.cpp chunk_placement.cpp key_epoch.cpp manifest.cpp recording_verifier.cpp
          session_note.cpp spool_format.cpp
  DEPS lucid_base lucid_crypto lucid_evidence
  PRIVATE_DEPS PkgConfig::zstd)
target_link_libraries(lucid_recording INTERFACE lucid_recording_container)
lucid_tests(recording_container
  SOURCES bundle_test.cpp chunk_test.cpp key_epoch_test.cpp manifest_test.cpp recording_verifier_test.cpp spool_format_test.cpp
  DEPS lucid_recording_container PkgConfig::sodium)
lucid_bench(recording_container
  SOURCES container_bench.cpp
  DEPS lucid_recording_container PkgConfig::zstd OpenSSL::Crypto blake3)
lucid_fuzzer(chunk SOURCES chunk_fuzz.cpp DEPS lucid_recording_container CORPUS ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/chunk)
lucid_fuzzer(bundle SOURCES bundle_fuzz.cpp DEPS lucid_recording_container CORPUS ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/bundle)
lucid_fuzzer(manifest SOURCES manifest_fuzz.cpp DEPS lucid_recording_container CORPUS ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/manifest)
lucid_fuzzer(spool SOURCES spool_format_fuzz.cpp DEPS lucid_recording_container CORPUS ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/spool)
add_test(NAME interop_chunk_bundle COMMAND ${PROJECT_SOURCE_DIR}/tests/interop/run_chunk_bundle.py WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(interop_chunk_bundle PROPERTIES TIMEOUT 120 LABELS full SKIP_RETURN_CODE 77)
