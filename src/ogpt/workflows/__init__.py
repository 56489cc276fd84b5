"""One public function a file, named as its command."""
