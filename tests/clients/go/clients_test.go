// Package clients runs Google's client for Go against the local metadata server.
package clients

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/credentials/idtoken"
	"cloud.google.com/go/compute/metadata"
)

const (
	identity = "/computeMetadata/v1/instance/service-accounts/default/identity"
	login    = "login@shop-42.iam.gserviceaccount.com"
	search   = "search@shop-42.iam.gserviceaccount.com"
	profiles = "https://profiles.example.com"
)

var emulator = os.Getenv("EMULATOR")

func TestMain(m *testing.M) {
	if emulator == "" {
		os.Stderr.WriteString("no emulator to test against; start the tests with tests/clients/run\n")
		os.Exit(2)
	}
	os.Exit(m.Run())
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// fault sets a fault for the rest of the test.
func fault(t *testing.T, fields string) {
	t.Helper()
	url := emulator + "/_emulator/faults"
	response, err := http.Post(url, "application/json", strings.NewReader(fields))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("the fault %s was refused with %s", fields, response.Status)
	}
	t.Cleanup(func() {
		request, _ := http.NewRequest(http.MethodDelete, url, nil)
		if _, err := http.DefaultClient.Do(request); err != nil {
			t.Error(err)
		}
	})
}

func fetch(t *testing.T, options idtoken.Options) (string, error) {
	t.Helper()
	credentials, err := idtoken.NewCredentials(&options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := credentials.Token(deadline(t))
	if err != nil {
		return "", err
	}
	return token.Value, nil
}

func mustFetch(t *testing.T, audience string) string {
	t.Helper()
	token, err := fetch(t, idtoken.Options{Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// validate checks a token as a receiver does, with the emulator's certificates for Google's.
func validate(t *testing.T, token, audience string) (*idtoken.Payload, error) {
	t.Helper()
	validator, err := idtoken.NewValidator(&idtoken.ValidatorOptions{
		RS256CertsURL: emulator + "/oauth2/v3/certs",
	})
	if err != nil {
		t.Fatal(err)
	}
	return validator.Validate(deadline(t), token, audience)
}

func TestAFetchedIDTokenIsValidatedWithThePublishedCertificates(t *testing.T) {
	payload, err := validate(t, mustFetch(t, profiles), profiles)
	if err != nil {
		t.Fatal(err)
	}
	if payload.Issuer != "https://accounts.google.com" {
		t.Errorf("issuer %q", payload.Issuer)
	}
	if payload.Claims["email"] != login || payload.Claims["email_verified"] != true {
		t.Errorf("claims %v", payload.Claims)
	}
	if life := payload.Expires - payload.IssuedAt; life != 3600 {
		t.Errorf("it lives %d s", life)
	}
}

func TestTheStandardFormatHasNoEmail(t *testing.T) {
	token, err := fetch(t, idtoken.Options{
		Audience:           profiles,
		ComputeTokenFormat: idtoken.ComputeTokenFormatStandard,
	})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := validate(t, token, profiles)
	if err != nil {
		t.Fatal(err)
	}
	if email, found := payload.Claims["email"]; found {
		t.Errorf("email %v", email)
	}
}

func TestAnAudienceSurvivesByteForByte(t *testing.T) {
	for _, audience := range []string{
		profiles + "/?a=1&b=2#c",
		profiles + "/a+b c%20d%2541",
		profiles + "/",
		"my-iap-client-id.apps.googleusercontent.com",
		"grüße",
	} {
		payload, err := validate(t, mustFetch(t, audience), audience)
		if err != nil {
			t.Errorf("%s: %v", audience, err)
		} else if payload.Audience != audience {
			t.Errorf("%s became %s", audience, payload.Audience)
		}
	}
}

func TestTheDefaultCredentialsAreTheMachines(t *testing.T) {
	found, err := credentials.DetectDefault(&credentials.DetectOptions{
		Scopes: []string{"https://www.googleapis.com/auth/cloud-platform"},
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := found.Token(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(token.Value, "ya29.") || time.Until(token.Expiry) < 50*time.Minute {
		t.Errorf("a token of %d bytes until %s", len(token.Value), token.Expiry)
	}
	project, err := found.ProjectID(deadline(t))
	if err != nil || project != "shop-42" {
		t.Errorf("project %q, %v", project, err)
	}
	universe, err := found.UniverseDomain(deadline(t))
	if err != nil || universe != "googleapis.com" {
		t.Errorf("universe %q, %v", universe, err)
	}
}

func TestTheMetadataClientReadsWhoTheMachineIs(t *testing.T) {
	client := metadata.NewClient(nil)
	for account, expected := range map[string]string{"": login, "default": login, search: search} {
		email, err := client.EmailWithContext(deadline(t), account)
		if err != nil || email != expected {
			t.Errorf("email of %q: %q, %v", account, email, err)
		}
	}
	scopes, err := client.ScopesWithContext(deadline(t), "")
	if err != nil || len(scopes) == 0 {
		t.Errorf("scopes %v, %v", scopes, err)
	}
	_, err = client.EmailWithContext(deadline(t), "nobody@example.com")
	if _, notDefined := err.(metadata.NotDefinedError); !notDefined {
		t.Errorf("an unknown account: %v", err)
	}
}

func TestATokenForSomebodyElseIsRefused(t *testing.T) {
	_, err := validate(t, mustFetch(t, profiles), "https://other.example")
	if err == nil || !strings.Contains(err.Error(), "audience") {
		t.Errorf("%v", err)
	}
}

func TestATokenThatWasChangedIsRefused(t *testing.T) {
	token := strings.Split(mustFetch(t, profiles), ".")
	token[1] = strings.Split(mustFetch(t, "https://other.example"), ".")[1]
	if _, err := validate(t, strings.Join(token, "."), ""); err == nil {
		t.Error("it was accepted")
	}
}

func TestATokenThatIsOverIsRefused(t *testing.T) {
	fault(t, `{"path": "`+identity+`", "token": {"lifetime": "-10s"}}`)
	_, err := validate(t, mustFetch(t, profiles), profiles)
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("%v", err)
	}
}

func TestTroubleThatPassesIsRiddenOutByTheClient(t *testing.T) {
	fault(t, `{"path": "`+identity+`", "status": 503, "times": 1}`)
	if _, err := validate(t, mustFetch(t, profiles), profiles); err != nil {
		t.Error(err)
	}
}

func TestARefusalIsAnError(t *testing.T) {
	fault(t, `{"path": "`+identity+`", "status": 403}`)
	_, err := fetch(t, idtoken.Options{Audience: profiles})
	if err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("%v", err)
	}
}
