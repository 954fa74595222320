using Billing.Tests.Api;

namespace Billing.Tests.Scenarios;

/// <summary>Scenario C: a learning community.</summary>
public sealed class LearningCommunity
{
    [Fact]
    public async Task C1_an_explorer_without_tokens_makes_three_ai_requests_and_the_fourth_is_denied()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        for (var i = 0; i < 3; i++) (await api.Use("acme", "ai_requests")).Expect(201);

        var fourth = (await api.Use("acme", "ai_requests")).Expect(403);

        Assert.Equal("quota_exceeded", fourth.Code);
        Assert.Contains("Upgrade or buy tokens", fourth.String("detail"));
    }
}
