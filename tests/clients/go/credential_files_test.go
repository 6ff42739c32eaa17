package clients

import (
	"os"
	"path/filepath"
	"testing"

	"cloud.google.com/go/auth/credentials/idtoken"
)

func credential(name string) string {
	return filepath.Join(os.Getenv("EMULATOR_CREDENTIALS"), name)
}

func TestAKeyBecomesAnIDToken(t *testing.T) {
	token, err := fetch(t, idtoken.Options{Audience: profiles, CredentialsFile: credential("key.json")})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := validate(t, token, profiles)
	if err != nil {
		t.Fatal(err)
	}
	if payload.Claims["email"] != login {
		t.Errorf("it is of %v", payload.Claims["email"])
	}
}

func TestAKeyOfWhichTheServerSaysNoIsAnError(t *testing.T) {
	fault(t, `{"endpoint": "token", "status": 400, "body": "{\"error\": \"invalid_grant\"}"}`)
	_, err := fetch(t, idtoken.Options{Audience: profiles, CredentialsFile: credential("key.json")})
	if err == nil {
		t.Error("a refusal became a token")
	}
}
