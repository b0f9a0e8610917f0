// Exists so that its target can carry the precompiled header of the tests (cmake/targets.cmake).
int main() {}
